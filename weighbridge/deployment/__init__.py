"""Deployment: the package that runs without torch, accepted only when it does what the network does; then what is done about it in
service."""

from weighbridge.deployment.package import REFUSED, prepare
from weighbridge.deployment.papers import check_key
from weighbridge.deployment.promote import Circle, about_of, carry_out, facts_of, release, section_of, service_findings, trace
from weighbridge.deployment.retrain import origin
from weighbridge.deployment.screening import key_findings

__all__ = [
    "REFUSED",
    "Circle",
    "about_of",
    "carry_out",
    "check_key",
    "facts_of",
    "key_findings",
    "origin",
    "prepare",
    "release",
    "section_of",
    "service_findings",
    "trace",
]
