"""A package as a version of a registered model in MLflow: the name that is served, its alias `champion`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weighbridge.errors import DependencyError

if TYPE_CHECKING:
    from weighbridge.recipe import Recipe


def register(recipe: Recipe, name: str, package: Path, about: dict[str, Any]) -> str:
    """MLflow's registry has this package under `name` once, and `champion` is its alias; return its version. Raises DependencyError."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    try:
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException
    except ModuleNotFoundError:
        raise DependencyError("tracking.mlflow needs mlflow", do="pip install 'weighbridge[mlflow]'") from None
    runs = Path(about["run"]).resolve().parent
    url = recipe.tracking.mlflow.url or f"sqlite:///{(runs / 'mlflow.db').as_posix()}"
    client: Any = MlflowClient(tracking_uri=url, registry_uri=url)
    try:
        client.create_registered_model(name)
    except MlflowException:  # it is there
        client.get_registered_model(name)
    known = [one for one in client.search_model_versions(f"name='{name}'") if one.tags.get("package_sha256") == about["package"]]
    if known:
        version = known[0]
    else:
        tags = {key: str(value) for key, value in about.items()} | {"package_sha256": about["package"]}
        version = client.create_model_version(name, source=package.resolve().as_uri(), tags=tags)
    client.set_registered_model_alias(name, "champion", version.version)
    return str(version.version)
