"""The forms of a graph with integer weights. All are made of standard operators, and of a graph without zeros they store none."""

from weighbridge.export.dynamic import int8_dynamic, int8_weights
from weighbridge.export.int4 import int4
from weighbridge.export.static import int8_static

__all__ = ["int4", "int8_dynamic", "int8_static", "int8_weights"]
