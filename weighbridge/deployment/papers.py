"""The papers of a proven package: its contract, its bill of materials, the manifest over all of it, and the maker's signature."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from weighbridge.deployment.contract import contract_finding, write_contract
from weighbridge.deployment.sbom import sbom_finding, write_sbom
from weighbridge.deployment.signing import read_private_key, sign_package, signature_finding
from weighbridge.findings import Finding

if TYPE_CHECKING:
    from weighbridge.recipe import Recipe
    from weighbridge.runtime.contract import Load
    from weighbridge.runtime.signature import Signature


def complete(recipe: Recipe, folder: Path, building: Path, price: Sequence[Finding], load: Load | None, command: str) -> list[Finding]:
    """The package holds its papers, under a new manifest, signed where the recipe says so; returns a finding about each.

    `price`: the findings about this package's latency, speed and first answer; `load`: what a server of it carried.
    Raises UsageError for a key that can not sign.
    """
    from weighbridge import runtime

    components = write_sbom(building)
    contract = write_contract(folder, building, price, load)
    runtime.write_manifest(building)
    signature: Signature | None = None
    if recipe.deployment.sign.key is not None:
        signature, _ = sign_package(building, read_private_key(Path(recipe.deployment.sign.key)))
    runtime.verify(building)
    return [contract_finding(contract, command), sbom_finding(components, command), signature_finding(signature, command)]


def check_key(recipe: Recipe) -> None:
    """Raise UsageError for a signing key of the recipe that can not sign: now, not after the training."""
    if recipe.deployment.enabled and recipe.deployment.sign.key is not None:
        read_private_key(Path(recipe.deployment.sign.key))
