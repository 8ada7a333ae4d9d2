"""Whether an answer hangs on the rows that are asked with it: what is measured in batches must hold for a row that comes alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from weighbridge.export.company import apart_alone
from weighbridge.findings import Finding, Message, Reference

if TYPE_CHECKING:
    from weighbridge.preprocessing import Arrays
    from weighbridge.runtime.session import Session


def company_finding(session: Session, arrays: Arrays, *, scale: float, tolerance: float, command: str) -> Finding:
    """Return the largest change of an answer when its row is asked alone instead of among all of `arrays`.

    In deviations (`scale`) for numbers.
    """
    apart = apart_alone(session, arrays, scale=scale)
    largest, changed = float(apart.max()), int((apart > tolerance).sum())
    return Finding(
        key="deployment.company",
        title=Message("Largest change of an answer to a row that is asked alone"),
        value=largest,
        n=len(apart),
        verdict="neutral" if largest <= tolerance else "limitation",
        reference=Reference(name=Message("tolerance"), value=tolerance),
        reason=Message("a row is answered alike in any company")
        if largest <= tolerance
        else Message(
            "{changed} of {n} answers hang on the rows that are asked with them: the form takes its ranges from each batch",
            changed=changed,
            n=len(apart),
        ),
        method=Message("validation rows asked one by one, beside the same rows asked among {among} others", among=len(arrays) - 1),
        command=f"{command} --only company",
    )
