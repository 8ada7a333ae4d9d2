"""Deployment: the package that runs without torch, accepted only when it does what the network does."""

from weighbridge.deployment.package import REFUSED, prepare

__all__ = ["REFUSED", "prepare"]
