"""One file a limitation: each measured by an instrument that has controls."""

from weighbridge.audit.registry import Audit, audit, audits
from weighbridge.audit.stage import measure_again, open_subject, prepare
from weighbridge.audit.subject import Subject, Unmeasured

__all__ = ["Audit", "Subject", "Unmeasured", "audit", "audits", "measure_again", "open_subject", "prepare"]
