"""Networks by name: each is a few readable lines on torch, built from the encoded blocks and one size dial."""

from weighbridge.models.registry import (
    MODELS,
    Network,
    NetworkSpec,
    Sizes,
    build_network,
    choose_type,
    count_all,
    count_parameters,
    derived_sizes,
    model,
    plugin_version,
)

__all__ = [
    "MODELS",
    "Network",
    "NetworkSpec",
    "Sizes",
    "build_network",
    "choose_type",
    "count_all",
    "count_parameters",
    "derived_sizes",
    "model",
    "plugin_version",
]
