"""Deployment: the package that runs without torch, accepted only when it does what the network does."""

from weighbridge.deployment.package import REFUSED, prepare
from weighbridge.deployment.papers import check_key

__all__ = ["REFUSED", "check_key", "prepare"]
