"""One file a remedy: a change of recipe that is measured before and after, with what it cost."""

from weighbridge.mitigation.registry import Patient, Remedy, chosen, register, remedies
from weighbridge.mitigation.stage import prepare

__all__ = ["Patient", "Remedy", "chosen", "prepare", "register", "remedies"]
