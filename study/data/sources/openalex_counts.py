"""Papers of each academic institution, year and topic, as an expression on OpenAlex works that any engine of ibis runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ibis.expr.types import StringValue, Table

PAPERS = ("article", "preprint", "review", "conference-paper", "book-chapter", "data-paper", "software-paper")


def institution_years(works: Table, merged: Table, topics: Sequence[str]) -> Table:
    """Return the papers of each academic institution, year and topic.

    The counts of disjoint sets of works add up: a loader may count parts (all records of a work in one part) and sum
    the rows of each institution, year and topic.

    Parameters
    ----------
    works : Table
        Records as OpenAlex documents them, with the columns of ``openalex_works.SHAPE``; a work can have several, of
        which the one with the last ``updated_date`` counts.
    merged : Table
        ``work_id``: numbers of works that were merged into others (W123 is 123), which do not count.
    topics : sequence of str
        Topics, subfields, fields or venues that get rows of their own, beside those of all papers ("all").

    Returns
    -------
    Table
        With the columns that :func:`~study.data.sources.openalex_works.aggregate` describes, in no order.
    """
    import ibis
    from ibis import _

    # The newest record of each work that is a paper; records of one date are copies.
    works = works.mutate(work_id=works.id.substr(len("https://openalex.org/W")).cast("int64"))
    dated = works.anti_join(merged, "work_id").group_by("work_id", "updated_date").agg(copies=_.count())
    newest = dated.group_by("work_id").agg(
        updated_date=_.updated_date.max(), copies=_.copies.argmax(_.updated_date)
    )
    about, venue = _.primary_topic, _.primary_location.source
    names = ibis.array(["all", about.id, about.subfield.id, about.field.id, venue.id])
    asked = ["all", *(f"https://openalex.org/{topic}" for topic in topics)]
    papers = (
        works.join(newest, ["work_id", "updated_date"])
        .filter(
            _.publication_year.notnull(),
            ~_.is_retracted.fill_null(False),
            ~_.is_xpac.fill_null(False),
            _["type"].isin(PAPERS),
        )
        .mutate(places=_.authorships.map(lambda author: author.institutions).flatten())
        .mutate(institutions=_.places.map(lambda place: ibis.coalesce(place.ror, place.id)))
        .select(
            "work_id",
            "copies",
            year=_.publication_year,
            topics=names.filter(lambda name: name.isin(asked)),
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
    )
