"""Every error that Weighbridge raises on purpose, with the exit code of `weigh` and the HTTP status of the server.

    WeighbridgeError                      exit 1   HTTP 500
    ├── UsageError                        exit 2   HTTP 400   what the user gave does not fit
    │   ├── RecipeError                   exit 2   HTTP 400   unknown key, contradiction, newer version
    │   ├── DataError                     exit 2   HTTP 400   missing file, unknown column, empty split, one class
    │   │   ├── LeakError                 exit 2   HTTP 400   rows or columns would make the test score too good
    │   │   └── InputError                exit 2   HTTP 422   rows given to a package do not fit its signature
    │   ├── RunError                      exit 2   HTTP 409   folder held by another run, or not a run
    │   ├── PackageError                  exit 2   HTTP 400   package damaged, swapped, newer or hostile
    │   ├── DependencyError               exit 2   HTTP 501   an optional library is not installed
    │   ├── VaultError                    exit 2   HTTP 500   a sealed value or the key to it does not fit
    │   └── StorageError                  exit 2   HTTP 507   disk full, no permission, I/O error
    ├── TrainingError                     exit 1   HTTP 500   loss is not finite
    ├── RefusedArtefact                   exit 1   HTTP 500   an export failed parity or its task metric
    ├── FormError                         exit 1   HTTP 500   a lighter form of a graph can not be made
    └── Stopped                           exit 130 HTTP 503   Ctrl-C (130) or SIGTERM (143); work is saved

Expected failures print one line without a traceback: what is wrong, with which value, by which rule, and what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class WeighbridgeError(Exception):
    """One line that says what is wrong; `do` says what to do about it."""

    exit_code = 1
    http_status = 500

    def __init__(self, what: str, *, do: str = "") -> None:
        self.what = " ".join(what.split())
        self.do = " ".join(do.split())
        super().__init__(f"{self.what}: {self.do}" if self.do else self.what)


class UsageError(WeighbridgeError):
    """What the user gave does not fit; nothing that existed was changed."""

    exit_code = 2
    http_status = 400


class RecipeError(UsageError):
    """The recipe can not be followed."""


class DataError(UsageError):
    """The data can not be used as the recipe asks."""


class LeakError(DataError):
    """Rows or columns would make the test score too good, and the recipe does not say that it goes on with them."""


class InputError(DataError):
    """Rows given to a package do not fit its signature."""

    http_status = 422


class RunError(UsageError):
    """The run folder is held by another process, is not a run, or belongs to another recipe."""

    http_status = 409


class PackageError(UsageError):
    """A package is damaged, was changed, is newer than this code, or carries what it must not."""


class DependencyError(UsageError):
    """An optional library is needed; the message holds the pip line that installs it."""

    http_status = 501


class VaultError(UsageError):
    """A key of the vault can not be had, or a sealed value is not what was sealed in its place with one of the keys."""

    http_status = 500


class StorageError(UsageError):
    """The disk refused an operation; the previous file is intact."""

    http_status = 507


class TrainingError(WeighbridgeError):
    """Training can not go on; the last good step is kept."""


class RefusedArtefact(WeighbridgeError):  # noqa: N818 - it is the artefact that is refused
    """An exported artefact does not do what the trained model does, so it is not kept."""


class FormError(WeighbridgeError):
    """A lighter form of a graph can not be made, or would not be lighter; the graph itself and its other forms stand."""


class Stopped(WeighbridgeError):  # noqa: N818 - being asked to stop is no error
    """A signal asked the run to stop; its state was saved and `weigh run` goes on from there."""

    exit_code = 130
    http_status = 503

    def __init__(self, what: str, *, do: str = "", exit_code: int = 130) -> None:
        super().__init__(what, do=do)
        self.exit_code = exit_code


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ` (did you mean 'x'?)` for the nearest known word, or an empty string."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" (did you mean '{near[0]}'?)" if near else ""
