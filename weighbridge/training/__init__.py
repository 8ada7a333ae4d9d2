"""Training: one loop, exact to resume, planned by measurement, with its price."""

from weighbridge.training.features import with_features
from weighbridge.training.lesson import Lesson
from weighbridge.training.plan import Plan
from weighbridge.training.predict import Deployable, forward_all
from weighbridge.training.repeats import further_seeds, seed_folder, subset, subset_rows, train_like, train_on_subset
from weighbridge.training.stage import Course, Start, load_network, model_hash, network_answers, network_spec, prepare, start_of

__all__ = [
    "Course",
    "Deployable",
    "Lesson",
    "Plan",
    "Start",
    "forward_all",
    "further_seeds",
    "load_network",
    "model_hash",
    "network_answers",
    "network_spec",
    "prepare",
    "seed_folder",
    "start_of",
    "subset",
    "subset_rows",
    "train_like",
    "train_on_subset",
    "with_features",
]
