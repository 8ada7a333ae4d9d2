"""What personal data look like, how a value is made coarser, and how many rows share one: pure Python and numpy, for every floor above."""

from weighbridge.privacy.personal import KINDS, Kind, Match, Seen, find, mask, masked_shape, named_kind, search
from weighbridge.privacy.steps import Step, read_step

__all__ = ["KINDS", "Kind", "Match", "Seen", "Step", "find", "mask", "masked_shape", "named_kind", "read_step", "search"]
