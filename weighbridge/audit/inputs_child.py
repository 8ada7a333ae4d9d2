"""The process in which a package is given what no user means: it may die, hang or fill its memory there, and the audit only hears of it.

python -c "from weighbridge.audit.inputs_child import main; main(PACKAGE, FIRST)"   one JSON line before each case and one after it
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from weighbridge.audit.inputs_cases import Case, cases, good_row
from weighbridge.errors import UsageError

ANSWERED, REFUSED, FAILED = "answered", "refused", "failed"
MOST_GROWTH = 1 << 30  # bytes beyond what the process had
MOST_CPU_S = 10.0
MOST_CHARACTERS = 1000
SPACE = 6 << 30  # of addresses: a case that asks for more meets MemoryError, not the machine's memory


def main(package: str, first: str) -> None:
    """Try the cases from number `first` on; the last line says that all were tried."""
    from weighbridge.runtime import load

    model = load(package, threads=1)
    good = good_row((Path(package) / "golden.json").read_bytes())
    _bound()
    tried = cases(list(model.signature.items()), good)
    print(json.dumps({"cases": len(tried)}), flush=True)
    before = model.predict([good], paths=False).to_json()
    for number, case in enumerate(tried[int(first) :], int(first)):
        print(json.dumps({"begins": number, "name": case.name}), flush=True)
        said = judge(case, lambda rows: model.predict(rows, paths=False))
        if said["outcome"] != FAILED and model.predict([good], paths=False).to_json() != before:
            said = {**said, "outcome": FAILED, "what": "a good row is answered otherwise afterwards"}
        print(json.dumps({"ends": number, **said}), flush=True)
    print(json.dumps({"all": len(tried)}), flush=True)


class Ended:
    """Holds how the block under it ended: without an error, by one of ours, or by whatever else there is, which is what is looked for."""

    def __init__(self) -> None:
        self.error: BaseException | None = None

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> bool:
        self.error = error
        return not isinstance(error, KeyboardInterrupt | SystemExit)

    @property
    def outcome(self) -> tuple[str, str]:
        """The word for it, and what was said."""
        if self.error is None:
            return ANSWERED, ""
        text = str(self.error)
        if not isinstance(self.error, UsageError):
            return FAILED, f"{type(self.error).__name__}: {text[:160]}"
        if not 0 < len(text) <= MOST_CHARACTERS or "\n" in text:
            return FAILED, f"a refusal of {len(text)} characters in {len(text.splitlines())} lines"
        return REFUSED, text


def judge(case: Case, predict: Callable[[Any], Any]) -> dict[str, Any]:
    """Return how a case ended: `answered`, `refused` (one clear line), or `failed` and by what; its processor time and memory."""
    base, began, rows, ended = resident(fresh=True), time.process_time(), case.rows(), Ended()
    with ended:
        predict(rows)
    outcome, what = ended.outcome
    seconds, grown = time.process_time() - began, max(0, resident() - base)
    if outcome != FAILED and grown > MOST_GROWTH:
        outcome, what = FAILED, f"{grown >> 20:,} MB of memory"
    if outcome != FAILED and seconds > MOST_CPU_S:
        outcome, what = FAILED, f"{seconds:.0f} s of the processor"
    return {"outcome": outcome, "what": what[:200], "seconds": round(seconds, 3), "bytes": grown}


def resident(*, fresh: bool = False) -> int:
    """Return the most bytes that the process held since this was last asked `fresh`; 0 where the system does not say."""
    try:
        if fresh:
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
    except (OSError, StopIteration, ValueError):
        return 0


def _bound() -> None:
    if sys.platform.startswith("linux"):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (SPACE, resource.getrlimit(resource.RLIMIT_AS)[1]))
