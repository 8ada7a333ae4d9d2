"""The recipe's section `deployment`: what is packaged, proved, signed and measured."""

from __future__ import annotations

from typing import Annotated, Literal

from weighbridge.recipe.section import Key, Section, switch


class SignOptions(Section):
    key: str | None = Key(None, "a file with the private key that signs the package; weigh deploy key makes one")


class LoadOptions(Section):
    enabled: bool = Key(True, "measure the load that a server of the package carries on this machine")
    seconds: float = Key(3.0, "how long it is asked; starting and stopping the server come on top", ge=1, le=600)


class DeploymentSection(Section):
    enabled: bool = Key(True, "build a package that runs without torch")
    tolerance: float = Key(
        1e-3, "largest difference of an output between package and model on real rows (outputs scaled to unit deviation)", gt=0
    )
    margin: float = Key(0.005, "largest loss of the task metric through the package", ge=0)
    edge: list[Literal["executorch", "executorch_int8", "onnx_int8"]] = Key(
        [], "targets for devices that are built and judged beside the package"
    )
    encrypt: bool = Key(
        False, "whoever serves the package keeps inputs and labels sealed at rest: a server that logs answers asks for --vault"
    )
    sign: SignOptions = Key(SignOptions(), "who made the package")
    load: Annotated[LoadOptions, switch] = Key(LoadOptions(), "the load that it carries; true or false stands for load.enabled")
