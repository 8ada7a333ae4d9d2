"""Trackers: a run's curves, parameters, findings and report in TensorBoard, MLflow or Weights & Biases.

A tracker only listens: it can not change a result, and where it fails the run goes on without it. Importing this package loads no tracker.
"""

from weighbridge.tracking.follow import Trackers, follow

__all__ = ["Trackers", "follow"]
