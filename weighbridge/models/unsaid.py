"""Remarks of libraries on import, unsaid: they are about parts of theirs that nobody asked for, and hide what a run says."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def unsaid() -> Iterator[None]:
    """Within the block nothing up to a warning is logged or warned of; errors are."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
