"""The tables of the feedback database, SQLite or PostgreSQL. Times are whole microseconds since 1970 UTC, named `_us`.

Answers are slim (a window over a million of them reads no inputs), inputs lie beside them, and both are ordered by `sequence`, which grows
as they come and does not depend on any clock. Outputs are float64, little-endian, one after the other.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Float, Index, Integer, LargeBinary, MetaData, Table, Text

metadata = MetaData()
Sequence = BigInteger().with_variant(Integer(), "sqlite")  # SQLite numbers rows only in a column of that exact type

models = Table(
    "models",
    metadata,
    Column("number", Sequence, primary_key=True, autoincrement=True),
    Column("model", Text, nullable=False),
    Column("package", Text, nullable=False),
    Column("kind", Text),  # null until a journal or a caller says what the model is
    Column("classes", Text),  # JSON list
    Index("models_model_package", "model", "package", unique=True),
)

predictions = Table(
    "predictions",
    metadata,
    Column("sequence", Sequence, primary_key=True, autoincrement=True),
    Column("id", Text, nullable=False, unique=True),
    Column("time_us", BigInteger, nullable=False),
    Column("model", BigInteger, nullable=False),  # models.number
    Column("key", Text, nullable=False),
    Column("output", LargeBinary, nullable=False),
    Column("latency_s", Float(53)),
    Column("fingerprint", Text),
    Index("predictions_time", "time_us"),
    Index("predictions_model_time", "model", "time_us"),
    Index("predictions_key_time", "key", "time_us"),
)

inputs = Table(
    "inputs",
    metadata,
    Column("sequence", BigInteger().with_variant(Integer(), "sqlite"), primary_key=True, autoincrement=False),
    Column("content", LargeBinary, nullable=False),  # JSON of the row, or what the vault made of it
    Column("sealed", Boolean, nullable=False),
)

labels = Table(  # what holds now, one row an id; label_events says how it came about
    "labels",
    metadata,
    Column("id", Text, primary_key=True),
    Column("state", Text, nullable=False),  # labelled, held (two values, a person decides), waiting (no such answer yet), invalid
    Column("value", Text),  # JSON, in the open or sealed (sealing.py); null while held
    Column("who", Text, nullable=False),
    Column("time_us", BigInteger, nullable=False),
    Index("labels_state", "state"),
    Index("labels_who", "who"),
)

label_events = Table(
    "label_events",
    metadata,
    Column("sequence", Sequence, primary_key=True, autoincrement=True),
    Column("id", Text, nullable=False),
    Column("value", Text, nullable=False),
    Column("who", Text, nullable=False),
    Column("time_us", BigInteger, nullable=False),
    Column("outcome", Text, nullable=False),
    Index("label_events_id", "id"),
    Index("label_events_who", "who"),
)

cursors = Table(  # how far each journal was moved, and what was found in it so far
    "cursors",
    metadata,
    Column("file", Text, primary_key=True),
    Column("offset", BigInteger, nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("found", Text, nullable=False),  # JSON: counts of damaged, missing, lost lines and the like
    Column("finished", Boolean, nullable=False),
)

counts = Table(  # what is worth telling about what is no longer there
    "counts",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", BigInteger, nullable=False),
)

proofs = Table(  # a value that the key of sealed labels sealed; no row where they lie in the open
    "proofs",
    metadata,
    Column("place", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

quarantine = Table(  # keys whose labels are not used
    "quarantine",
    metadata,
    Column("who", Text, primary_key=True),
    Column("since_us", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
)
