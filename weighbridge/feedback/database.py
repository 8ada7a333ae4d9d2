"""Open the feedback database, and turn what it refuses into one line. SQLite in a file by default, PostgreSQL by URL."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, Table, create_engine, event, make_url, select, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError

from weighbridge.errors import DependencyError, StorageError, UsageError
from weighbridge.feedback import tables

LOCKED_S = 20.0  # that another process may hold an SQLite file before we say so
ANSWER_S = 10  # of a server that does not answer
REASONS = {  # words of the database -> what it means and what to do
    "locked": ("another process holds it", "wait for it to end or stop it; nothing was changed"),
    "full": ("the disk is full", "free some room; journals wait meanwhile"),
    "disk i/o": ("the disk reported an I/O error", "check the disk; journals wait meanwhile"),
    "readonly": ("it can not be written", "choose a folder that you may write to"),
    "unable to open": ("it can not be opened", "check the folder and who may write to it"),
    "not a database": ("it is no SQLite file", "restore it from a copy, or move it away: journals fill a new one"),
    "malformed": ("it is damaged", "restore it from a copy, or move it away: journals fill a new one"),
}
Row = Mapping[str, Any]


class Database:
    """A database with the feedback tables. `reading` and `writing` give a transaction each; a writing one is alone from its start."""

    def __init__(self, where: Path | str, *, locked_s: float = LOCKED_S) -> None:
        self.url = database_url(where)
        self.name = self.url.render_as_string(hide_password=True) if self.url.get_backend_name() != "sqlite" else str(self.url.database)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self._engine = _engine(self.url, locked_s)
        with self.named():
            self._make_tables()

    def _make_tables(self) -> None:
        with self.writing() as connection:
            tables.metadata.create_all(connection)

    @contextlib.contextmanager
    def reading(self) -> Iterator[Connection]:
        """Give one view of the tables that does not change meanwhile. Raises StorageError."""
        with self.named(), self._engine.connect() as connection, connection.begin():
            yield connection

    @contextlib.contextmanager
    def writing(self) -> Iterator[Connection]:
        """What the block writes is durable when it ends, all of it or nothing. One writer at a time. Raises StorageError."""
        with self.named(), self._engine.execution_options(writes=True).connect() as connection, connection.begin():
            if not self.is_sqlite:  # SQLite has begun as the only writer; PostgreSQL is told to
                connection.execute(text("SELECT pg_advisory_xact_lock(7710345)"))
            yield connection

    @contextlib.contextmanager
    def alone(self) -> Iterator[Connection]:
        """Give a connection without a transaction, for VACUUM and the like. Raises StorageError."""
        options: dict[str, Any] = {"alone": True} if self.is_sqlite else {"isolation_level": "AUTOCOMMIT"}
        with self.named(), self._engine.execution_options(**options).connect() as connection:
            yield connection

    @contextlib.contextmanager
    def named(self) -> Iterator[None]:
        """Turn what the database refuses into a StorageError that names it, without its password."""
        try:
            yield
        except SQLAlchemyError as error:
            raise self._told(error) from None

    def _told(self, error: SQLAlchemyError) -> StorageError:
        said = first_line(error)
        for word, (reason, do) in REASONS.items():
            if self.is_sqlite and word in said.lower():
                return StorageError(f"the feedback database {self.name}: {reason}", do=do)
        return StorageError(f"the feedback database {self.name} can not be used ({said})", do="see to it; journals wait meanwhile")

    def close(self) -> None:
        """No connection is open."""
        self._engine.dispose()

    def add_new(self, connection: Connection, table: Table, rows: Sequence[Row]) -> int:
        """Insert the rows whose key is not there yet; return how many."""
        if not rows:
            return 0
        new = self.insert(table).on_conflict_do_nothing()
        if self.is_sqlite:
            return int(connection.execute(new, list(rows)).rowcount)
        return len(connection.execute(new.returning(*table.primary_key), list(rows)).all())  # its driver does not count a batch

    def put(self, connection: Connection, table: Table, rows: Sequence[Row]) -> None:
        """The table holds these rows, in place of those with the same primary key."""
        if rows:
            new = self.insert(table)
            keys = [column.name for column in table.primary_key]
            others = {
                column.name: new.excluded[column.name] for column in table.columns if column.name in rows[0] and column.name not in keys
            }
            connection.execute(new.on_conflict_do_update(index_elements=keys, set_=others), list(rows))

    def insert(self, table: Table) -> Any:
        """Return an INSERT that knows what to do on a conflict."""
        return sqlite.insert(table) if self.is_sqlite else postgresql.insert(table)

    def count(self, connection: Connection, **more: int) -> None:
        """Add to named counts."""
        for name, value in more.items():
            if value:
                self.add_new(connection, tables.counts, [{"name": name, "value": 0}])
                old = tables.counts.c
                connection.execute(tables.counts.update().where(old.name == name).values(value=old.value + value))

    def counts(self) -> dict[str, int]:
        """Return all named counts."""
        with self.reading() as connection:
            return {name: int(value) for name, value in connection.execute(select(tables.counts.c.name, tables.counts.c.value))}


def database_url(where: Path | str) -> URL:
    """Return the URL of a database, given as one or as the path of an SQLite file. Raises UsageError."""
    if isinstance(where, Path) or "://" not in where:
        return URL.create("sqlite", database=str(where))
    try:
        url = make_url(where)
    except ArgumentError:
        raise UsageError("the feedback database is not a URL", do="give a file, or postgresql://user@host/name") from None
    if url.get_backend_name() == "sqlite":
        return url
    if url.get_backend_name() != "postgresql":
        raise UsageError(f"feedback is not kept in {url.get_backend_name()}", do="give a file (SQLite), or postgresql://user@host/name")
    return url.set(drivername="postgresql+psycopg") if url.drivername == "postgresql" else url


def _engine(url: URL, locked_s: float) -> Engine:
    if url.get_backend_name() == "sqlite":
        if url.database and url.database != ":memory:":
            Path(url.database).parent.mkdir(parents=True, exist_ok=True)
        engine = create_engine(url, connect_args={"timeout": locked_s})
        event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    try:
        return create_engine(url, pool_pre_ping=True, connect_args={"connect_timeout": ANSWER_S})
    except (ImportError, NoSuchModuleError):
        raise DependencyError("PostgreSQL needs a driver that is not installed", do="pip install 'weighbridge[postgresql]'") from None


def _set_up_sqlite(connection: Any, _record: Any) -> None:
    """WAL: readers never wait for the writer. FULL: a commit survives a power cut. What is deleted is overwritten with zeros."""
    connection.isolation_level = None  # the driver begins no transactions of its own
    for pragma in (
        "auto_vacuum=INCREMENTAL", "journal_mode=WAL", "synchronous=FULL", "secure_delete=ON", "cache_size=-32000",
        "journal_size_limit=67108864", "temp_store=MEMORY",
    ):  # fmt: skip
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    options = connection.get_execution_options()
    if not options.get("alone"):
        connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get("writes") else "BEGIN")


def first_line(error: BaseException) -> str:
    """Return what the database itself says, in one line, without parameters (they may hold what is private)."""
    inner = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    lines = [line.strip() for line in str(inner).splitlines() if line.strip()]
    return lines[0][:200] if lines else type(inner).__name__
