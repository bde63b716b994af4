"""OpenAlex works are counted on Spark as by DuckDB out of core."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import duckdb
import ibis
import pandas as pd
import pytest
from openalex import NEW, OLD, records

from study.data.sources.openalex_counts import COLUMNS, institution_years
from study.data.sources.openalex_works import TOPICS, aggregate

pytestmark = pytest.mark.engines

WORKS = 3000
MERGED = range(1_000_000_000, 1_000_000_100)


def test_works_are_counted_alike_on_spark_and_by_duckdb(spark: Any, tmp_path: Path) -> None:
    for date, step in ((OLD, 1), (NEW, 10)):
        folder = tmp_path / f"updated_date={date}"
        folder.mkdir()
        works = records(0, WORKS, step, date)
        twice = f"SELECT * FROM ({works}) UNION ALL SELECT * FROM ({works}) WHERE id LIKE '%7'"
        duckdb.sql(f"COPY ({twice}) TO '{folder / 'works.parquet'}' (FORMAT parquet)")
    merged = tmp_path / "merged.csv.gz"
    lines = ["merge_date,id,merge_into_id", *(f"2023-01-01,W{number},W1" for number in MERGED)]
    merged.write_bytes(gzip.compress("\n".join(lines).encode()))
    by_duckdb = aggregate([*tmp_path.glob("*/*.parquet")], merged=[merged], topics=TOPICS)
    ids = ibis.memtable({"work_id": [*MERGED]})
    works = spark.read_parquet(f"{tmp_path}/*/*.parquet")
    on_spark = institution_years(works, TOPICS, ids).order_by("ror", "year", "topic")
    assert len(by_duckdb) > 1000
    pd.testing.assert_frame_equal(
        spark.to_pandas(on_spark)[[*COLUMNS]], by_duckdb, check_dtype=False, rtol=1e-12
    )
