"""Warehouse (数据仓库): the log tables as Parquet, asked in HiveQL, by DuckDB here and by Spark at
scale.

folder/TABLE/day=0003/part.parquet -> table TABLE with a column ``day`` (Hive's partition layout)
``${name}`` in a query is replaced by a number or a quoted text, as Hive's variables are.
DuckDB gets the query translated by sqlglot; Spark with Hive support reads it as it is.
Reference: Thusoo et al. 2009 (Hive); Raasveldt and Mühleisen 2019 (DuckDB).

Simplified: no metastore; industry registers tables and their statistics there.
"""

import os
import re
import warnings
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa

from reclab.core.errors import ConfigError, DataError
from reclab.core.tables import Table

ADDRESS_SETTING = "RECLAB_WAREHOUSE_URL"
_VARIABLE = re.compile(r"\$\{(\w+)\}")

Param = int | float | str


class Engine(Protocol):
    """What answers queries in HiveQL."""

    def register(self, name: str, folder: Path) -> None:
        """Make the Parquet files below a folder a table."""

    def query(self, hive: str) -> pa.Table:
        """The answer."""

    def close(self) -> None:
        """Let go of it."""


class Warehouse:
    """``run(query, **params)`` over the tables in a folder: every folder in it with Parquet files.

    ``address``: None = RECLAB_WAREHOUSE_URL, else DuckDB in this process; ``local[2]`` or
    ``spark://HOST:PORT`` = Spark (needs pyspark and Java). Raises ``DataError`` for a folder
    without tables or a query that fails, with the engine's words.
    """

    def __init__(self, folder: Path, address: str | None = None) -> None:
        address = address or os.environ.get(ADDRESS_SETTING) or None
        found = {p.name: p for p in sorted(Path(folder).glob("*")) if any(p.rglob("*.parquet"))}
        if not found:
            raise DataError(f"{folder} holds no tables (expected folders of .parquet files)")
        self.tables = tuple(found)
        self.engine: Engine = DuckDB() if address is None else Spark(address)
        for name, where in found.items():
            self.engine.register(name, where)

    def run(self, query: str | Path, **params: Param) -> Table:
        """The answer of a query, or of a ``.sql`` file. Raises ``DataError`` where a variable has
        no value, or a value no variable."""
        text = query.read_text(encoding="utf-8") if isinstance(query, Path) else query
        return Table.from_arrow(self.engine.query(substitute(text, params)))

    def close(self) -> None:
        """Let go of the engine."""
        self.engine.close()

    def __enter__(self) -> "Warehouse":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def substitute(text: str, params: dict[str, Param]) -> str:
    """The query with its variables replaced.

    >>> print(substitute("SELECT ${n}, ${s}", {"n": 3, "s": "it's"}))
    SELECT 3, 'it\\'s'
    """
    named = set(_VARIABLE.findall(text))
    if named != set(params):
        raise DataError(f"the query has variables {sorted(named)}, got {sorted(params)}")
    return _VARIABLE.sub(lambda found: _literal(found[1], params[found[1]]), text)


def _literal(name: str, value: Param) -> str:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)) or value != value:
        raise DataError(f"variable {name} must be a number or text, got {value!r}")
    if isinstance(value, str):
        if "\\" in value or not value.isprintable():
            raise DataError(f"variable {name} must be printable without a backslash: {value!r}")
        return "'" + value.replace("'", "\\'") + "'"  # two quotes are no quote in Hive
    return repr(value)


def _partitions(folder: Path) -> dict[str, str]:
    """Columns that the folders' names hold, ``day=0003``, with their types, as Spark infers them:
    numbers where all values are."""
    found: dict[str, list[str]] = {}
    for file in folder.rglob("*.parquet"):
        for part in file.relative_to(folder).parts[:-1]:
            key, _, value = part.partition("=")
            found.setdefault(key, []).append(value)
    return {key: "INT" if all(v.isdigit() for v in held) else "VARCHAR"
            for key, held in found.items()}  # fmt: skip


class DuckDB:
    """DuckDB in this process."""

    def __init__(self) -> None:
        import duckdb

        self._errors = duckdb.Error
        self._db = duckdb.connect(":memory:")
        self._db.execute("SET enable_progress_bar = false")  # a widget of its own in notebooks

    def register(self, name: str, folder: Path) -> None:
        """A view over the files; what is filtered by ``day`` reads only these partitions."""
        files = str(folder / "**" / "*.parquet").replace("'", "''")
        types = ", ".join(f"'{key}': {kind}" for key, kind in _partitions(folder).items())
        layout = f", hive_partitioning = true, hive_types = {{{types}}}" if types else ""
        parquet = f"read_parquet('{files}'{layout})"
        self._db.execute(f'CREATE VIEW "{name}" AS SELECT * FROM {parquet}')

    def query(self, hive: str) -> pa.Table:
        """Translated from HiveQL."""
        import sqlglot

        try:
            plain = sqlglot.transpile(hive, read="hive", write="duckdb")
            if len(plain) != 1:
                raise DataError(f"a query is one statement, got {len(plain)}")
            return self._db.sql(plain[0]).to_arrow_table()
        except (self._errors, sqlglot.errors.SqlglotError) as error:
            raise DataError(f"the query failed in DuckDB: {error}") from error

    def close(self) -> None:
        """Forget everything."""
        self._db.close()


class Spark:
    """Spark with Hive support, on this machine (``local[2]``) or a cluster."""

    def __init__(self, address: str) -> None:
        if not re.fullmatch(r"local\[(\d+|\*)\]|spark://\S+|yarn", address):
            good = "local[2] or spark://localhost:7077"
            raise ConfigError(f"{address!r} is not the address of a warehouse: {good}")
        try:
            from pyspark.errors import PySparkException  # type: ignore[import-not-found,unused-ignore]
            from pyspark.sql import SparkSession  # type: ignore[import-not-found,unused-ignore]
        except ImportError as error:
            raise ConfigError(
                "Spark needs pyspark and Java: install the extra 'spark', or leave the address out"
            ) from error
        self._errors: Any = PySparkException
        quiet = {"spark.ui.enabled": "false", "spark.ui.showConsoleProgress": "false",
                 "spark.sql.shuffle.partitions": "4",
                 "spark.sql.catalogImplementation": "hive"}  # fmt: skip
        # a metastore in memory: Spark would leave its files in the folder it is started from
        quiet["spark.hadoop.javax.jdo.option.ConnectionURL"] = (
            "jdbc:derby:memory:reclab;create=true"
        )
        quiet["spark.driver.extraJavaOptions"] = f"-Dderby.stream.error.file={os.devnull}"
        builder = SparkSession.builder.appName("reclab").master(address)
        for name, value in quiet.items():
            builder = builder.config(name, value)
        self._spark: Any = builder.enableHiveSupport().getOrCreate()
        self._spark.sparkContext.setLogLevel("ERROR")

    def register(self, name: str, folder: Path) -> None:
        """A temporary view; nothing goes to a metastore."""
        self._spark.read.parquet(str(folder)).createOrReplaceTempView(name)

    def query(self, hive: str) -> pa.Table:
        """As it is."""
        try:
            with warnings.catch_warnings():  # of pandas, which has no part in this
                warnings.filterwarnings("ignore", "PySpark does not yet", FutureWarning)
                return self._spark.sql(hive).toArrow()
        except self._errors as error:
            raise DataError(f"the query failed in Spark: {error}") from error

    def close(self) -> None:
        """Stop the session."""
        self._spark.stop()
