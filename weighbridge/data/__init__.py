"""Read, understand, clean and split: a source becomes three tables of typed columns, and findings that say what was done."""

from weighbridge.data.erased import erased_version, refuse_erasing
from weighbridge.data.fingerprint import fingerprint
from weighbridge.data.preview import Preview, draft_recipe, preview
from weighbridge.data.splits import Splits, open_data, read_ledger
from weighbridge.data.stage import prepare
from weighbridge.data.table import Batch, Column, Schema, Table, load_schema

__all__ = [
    "Batch",
    "Column",
    "Preview",
    "Schema",
    "Splits",
    "Table",
    "draft_recipe",
    "erased_version",
    "fingerprint",
    "load_schema",
    "open_data",
    "prepare",
    "preview",
    "read_ledger",
    "refuse_erasing",
]
