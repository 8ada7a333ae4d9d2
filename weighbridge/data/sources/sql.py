"""Rows of a database by URL and query, streamed; nothing is written to it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from weighbridge.errors import DataError, DependencyError, did_you_mean

ROWS = 16384


def read_sql(source: str, query: str | None) -> Iterator[Any]:
    """Yield record batches of the query's rows. Raises DataError without the password, DependencyError without the driver."""
    import pyarrow as pa
    from sqlalchemy import text
    from sqlalchemy.exc import SQLAlchemyError

    if not query:
        raise DataError(f"{shown(source)} is a database and data.query is missing", do="add data.query: SELECT ... FROM ...")
    engine = _engine(source)
    try:
        with engine.connect().execution_options(stream_results=True) as connection:
            result = connection.execute(text(query))
            if not result.returns_rows:
                raise DataError("data.query gives no rows", do="write a SELECT")
            names = list(result.keys())
            for rows in result.partitions(ROWS):
                columns = [_array([row[position] for row in rows]) for position in range(len(names))]
                yield pa.RecordBatch.from_arrays(columns, names=names)
    except SQLAlchemyError as error:
        reason = " ".join(str(getattr(error, "orig", None) or error).split())[:200]
        raise DataError(
            f"the query on {shown(source)} failed ({reason})", do="check data.query and that the database is within reach"
        ) from None
    finally:
        engine.dispose()


def shown(source: str) -> str:
    """Return the URL without its password."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        return make_url(source).render_as_string(hide_password=True)
    except ArgumentError:
        return source.split("://", 1)[0] + "://..."


def _engine(source: str) -> Any:
    from sqlalchemy import create_engine
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError

    try:
        url = make_url(source)
        engine = create_engine(url)
    except (ArgumentError, NoSuchModuleError):
        raise DataError(
            f"{shown(source)} is not a database URL", do="for example sqlite:///rows.db or postgresql://user@host/name"
        ) from None
    except ImportError as error:
        raise DependencyError(f"{shown(source)} needs a driver ({error})", do=f"pip install {error.name or 'the driver'}") from None
    if url.get_backend_name() == "sqlite" and url.database and url.database != ":memory:":
        path = Path(url.database)
        if not path.exists():  # SQLite would make an empty database
            near = did_you_mean(path.name, [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else [])
            raise DataError(f"there is no database {path}{near}", do="check data.source")
    return engine


def _array(values: list[Any]) -> Any:
    """Return a column; values of more than one type (SQLite allows them) become text."""
    import decimal

    import pyarrow as pa

    plain = [float(value) if isinstance(value, decimal.Decimal) else value for value in values]
    try:
        return pa.array(plain)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.array([None if value is None else str(value) for value in plain], pa.string())
