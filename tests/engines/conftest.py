"""One Spark of two workers for all tests of engines."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from missing import missing


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Return ibis' connection to a cluster of two workers, each a process of one core, on this machine."""
    if fault := missing():
        pytest.skip(fault)
    folder = tmp_path_factory.mktemp("spark")
    # Workers write below SPARK_HOME, whatever else is said.
    home = folder / "home"
    home.mkdir()
    for part in Path(find_spec("pyspark").origin).parent.iterdir():
        (home / part.name).symlink_to(part)
    environment = {
        "SPARK_HOME": str(home),
        "PYSPARK_PYTHON": sys.executable,
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_LOCAL_DIRS": str(folder / "spilled"),
    }
    options = {
        "spark.driver.extraJavaOptions": f"-Djava.io.tmpdir={folder}",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.memory": "1g",
        "spark.executor.memory": "1g",
        "spark.log.level": "OFF",
        # Compiling takes longer than the small tables do.
        "spark.sql.adaptive.enabled": "false",
        "spark.sql.codegen.factoryMode": "NO_CODEGEN",
        "spark.sql.codegen.wholeStage": "false",
        "spark.sql.shuffle.partitions": "2",
        "spark.sql.warehouse.dir": str(folder / "tables"),
        "spark.ui.enabled": "false",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        import ibis
        from pyspark.sql import SparkSession

        builder = SparkSession.builder.master("local-cluster[2,1,2048]")
        connection = ibis.pyspark.connect(builder.config(map=options).getOrCreate())
        yield connection
        connection.disconnect()
