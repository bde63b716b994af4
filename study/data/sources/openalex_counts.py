"""Papers by academic institution, year and topic: one expression on OpenAlex works for any engine of ibis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ibis.expr.types import Table

# Whole numbers beside that of papers, and all columns.
_KINDS = ("academic_only", "with_industry", "first_author", "last_author", "collaborative")
COUNTS = tuple(f"papers_{kind}" for kind in _KINDS)
COLUMNS = ("ror", "institution", "country", "year", "topic", "papers", "papers_fractional", *COUNTS)

PAPERS = ("article", "preprint", "review", "conference-paper", "book-chapter", "data-paper", "software-paper")


def institution_years(works: Table, topics: Sequence[str], merged: Table | None = None) -> Table:
    """Return the papers of each academic institution, year and topic.

    The counts of disjoint sets of works add up: a loader may count parts (all records of a work in one part) and sum
    the rows of each institution, year and topic.

    Parameters
    ----------
    works : Table
        Records with the columns of ``openalex_works.SHAPE``, as OpenAlex's files in Parquet have them. A work can have
        several, of which that with the last ``updated_date`` counts; of one date they are copies.
    topics : sequence of str
        Topics, subfields, fields or venues that get rows of their own, beside those of all papers ("all").
    merged : Table, optional
        ``work_id``: numbers of works that were merged into others (W123 is 123), which do not count.

    Returns
    -------
    Table
        With the columns that :func:`~study.data.sources.openalex_works.aggregate` describes, in any order of rows.

    Examples
    --------
    >>> spark = ibis.pyspark.connect(session)  # doctest: +SKIP
    >>> works = spark.read_parquet("works/*/*.parquet")  # doctest: +SKIP
    >>> institution_years(works, ["subfields/1702"]).to_parquet("counts.parquet")  # doctest: +SKIP
    """
    import ibis
    from ibis import _

    # The newest record of each work that is a paper; records of one date are copies.
    works = works.mutate(work_id=works.id.substr(len("https://openalex.org/W")).cast("int64"))
    counted = works if merged is None else works.anti_join(merged, "work_id")
    dated = counted.group_by("work_id", "updated_date").agg(copies=_.count())
    newest = dated.group_by("work_id").agg(
        updated_date=_.updated_date.max(), copies=_.copies.argmax(_.updated_date)
    )
    about, venue = _.primary_topic, _.primary_location.source
    names = ibis.array(["all", about.id, about.subfield.id, about.field.id, venue.id])
    topic_ids = ["all", *(f"https://openalex.org/{topic}" for topic in topics)]
    papers = (
        works.join(newest, ["work_id", "updated_date"])
        .filter(
            _.publication_year.notnull(),
            ~_.is_retracted.fill_null(False),
            ~_.is_xpac.fill_null(False),
            _["type"].isin(PAPERS),
        )
        .mutate(named=_.authorships.filter(lambda author: author.institutions.notnull()))
        .mutate(places=_.named.map(lambda author: author.institutions).flatten())
        .mutate(institutions=_.places.map(lambda place: ibis.coalesce(place.ror, place.id)))
        .select(
            "work_id",
            "copies",
            year=_.publication_year,
            topics=names.filter(lambda name: name.isin(topic_ids)),
            company=_.places.map(lambda place: place["type"]).contains("company"),
            collaborative=_.institutions.mins() < _.institutions.maxs(),
            authors=_.authorships.length(),
            author=_.authorships.unnest(),
        )
    )
    # One row a paper and academic institution, however many of its authors are there. A paper is shared evenly among
    # its authors, and an author's share among the author's institutions.
    position = _.author.author_position
    credits = (
        papers.mutate(
            first=position == "first",
            last=(position == "last") | (_.authors == 1),
            share=1.0 / (_.authors * _.author.institutions.length() * _.copies),
            place=_.author.institutions.unnest(),
        )
        .filter(_.place["type"] == "education", _.place.ror.notnull())
        .group_by("work_id", ror=_.place.ror)
        .agg(
            year=_.year.max(),
            topics=_.topics.arbitrary(),
            name=_.place.display_name.max(),
            country=_.place.country_code.max(),
            company=_.company.any(),
            collaborative=_.collaborative.any(),
            share=_.share.sum(),
            first=_["first"].any(),
            last=_["last"].any(),
        )
    )
    return (
        credits.mutate(topic=_.topics.unnest())
        .group_by("ror", "year", "topic")
        .agg(
            institution=_.name.max(),
            country=_.country.max(),
            papers=_.count(),
            papers_fractional=_.share.sum(),
            papers_academic_only=(~_.company).sum(),
            papers_with_industry=_.company.sum(),
            papers_first_author=_["first"].sum(),
            papers_last_author=_["last"].sum(),
            papers_collaborative=_.collaborative.sum(),
        )
        .mutate(ror=_.ror.replace("https://ror.org/", ""), topic=_.topic.replace("https://openalex.org/", ""))
        .select(*COLUMNS)
    )
