"""The command `weigh`: verbs to functions; parsing and printing only."""

from weighbridge.cli.app import main

__all__ = ["main"]
