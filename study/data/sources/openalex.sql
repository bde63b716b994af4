-- Papers of each academic institution, year and topic, from OpenAlex works.
--
-- One SELECT in plain SQL (common table expressions and one window function), so that any engine can run it on
-- these four tables or views, which a loader makes of the snapshot:
--
--   works        record             number of the record in the snapshot
--                work_id            number of the work (W123 is 123); a work can have several records
--                updated_date       text that sorts by age: partition of the snapshot, then the record's own time
--                year               year of publication, or NULL
--                type               OpenAlex's type of the work
--                is_retracted       0 or 1
--                is_expansion       0 or 1: record of the expansion corpus ("XPAC"), which OpenAlex keeps apart
--                authors            how many authors the record lists
--                topic_id, subfield_id, field_id    of the primary topic, or NULL
--                source_id          of the primary location (the venue), or NULL
--   authorships  one row an author and institution that the author names
--                record             as above
--                author_position    first, middle or last; the only author of a work is its first
--                author_institutions    how many institutions the author names
--                institution_id, institution_ror, institution_name, country, institution_type
--   topics       topic              ids of topics, subfields, fields or venues that are wanted apart
--   merged_ids   work_id            numbers of works that were merged into others
--
-- The counts of disjoint sets of works add up: a loader may run this on parts (all records of a work in one part)
-- and sum the rows of each institution, year and topic.

WITH ranked AS (
    SELECT
        record, year, type, is_retracted, is_expansion, authors, topic_id, subfield_id, field_id, source_id,
        row_number() OVER (PARTITION BY work_id ORDER BY updated_date DESC, record DESC) AS age
    FROM works
    WHERE work_id NOT IN (SELECT work_id FROM merged_ids)
),

-- The newest record of each work that is a paper.
papers AS (
    SELECT record, year, authors, topic_id, subfield_id, field_id, source_id
    FROM ranked
    WHERE age = 1
        AND year IS NOT NULL
        AND is_retracted = 0
        AND is_expansion = 0
        AND type IN (
            'article', 'preprint', 'review', 'conference-paper', 'book-chapter', 'data-paper', 'software-paper'
        )
),

-- One row a paper and institution, however many of its authors are there.
signatures AS (
    SELECT
        papers.record AS record,
        coalesce(authorships.institution_ror, authorships.institution_id) AS institution,
        max(authorships.institution_ror) AS ror,
        max(authorships.institution_name) AS name,
        max(authorships.country) AS country,
        max(CASE WHEN authorships.institution_type = 'education' THEN 1 ELSE 0 END) AS academic,
        max(CASE WHEN authorships.institution_type = 'company' THEN 1 ELSE 0 END) AS company,
        -- A paper is shared evenly among its authors, and an author's share among the author's institutions.
        sum(1.0 / (papers.authors * authorships.author_institutions)) AS share,
        max(CASE WHEN authorships.author_position = 'first' THEN 1 ELSE 0 END) AS first_author,
        max(CASE WHEN authorships.author_position = 'last' OR papers.authors = 1 THEN 1 ELSE 0 END) AS last_author
    FROM papers
    INNER JOIN authorships ON authorships.record = papers.record
    GROUP BY papers.record, coalesce(authorships.institution_ror, authorships.institution_id)
),

teams AS (
    SELECT record, max(company) AS company, CASE WHEN count(*) > 1 THEN 1 ELSE 0 END AS collaborative
    FROM signatures
    GROUP BY record
),

-- Institutions of other kinds end here: they only made a team one with a company, or a collaboration.
credits AS (
    SELECT
        signatures.ror, signatures.name, signatures.country, signatures.share, signatures.first_author,
        signatures.last_author, teams.company, teams.collaborative, papers.year, papers.topic_id,
        papers.subfield_id, papers.field_id, papers.source_id
    FROM signatures
    INNER JOIN teams ON teams.record = signatures.record
    INNER JOIN papers ON papers.record = signatures.record
    WHERE signatures.academic = 1 AND signatures.ror IS NOT NULL
)

SELECT
    ror,
    year,
    'all' AS topic,
    max(name) AS institution,
    max(country) AS country,
    count(*) AS papers,
    sum(share) AS papers_fractional,
    sum(1 - company) AS papers_academic_only,
    sum(company) AS papers_with_industry,
    sum(first_author) AS papers_first_author,
    sum(last_author) AS papers_last_author,
    sum(collaborative) AS papers_collaborative
FROM credits
GROUP BY ror, year

UNION ALL

SELECT
    credits.ror,
    credits.year,
    topics.topic,
    max(credits.name),
    max(credits.country),
    count(*),
    sum(credits.share),
    sum(1 - credits.company),
    sum(credits.company),
    sum(credits.first_author),
    sum(credits.last_author),
    sum(credits.collaborative)
FROM credits
INNER JOIN topics
    ON topics.topic IN (credits.topic_id, credits.subfield_id, credits.field_id, credits.source_id)
GROUP BY credits.ror, credits.year, topics.topic
