"""Find the most capable model, then the lightest form of it that is not measurably worse."""

from weighbridge.optimization.chosen import Chosen, Kept, answers, read_chosen
from weighbridge.optimization.stage import prepare

__all__ = ["Chosen", "Kept", "answers", "prepare", "read_chosen"]
