"""A package as a version of a registered model in MLflow: the name that is served; what answers has the alias `champion`.

All versions of a name stand in one store: the one that the first run's recipe names, or the SQLite file beside that run's folder; a
retraining takes it over (joining.joined_recipe). A store that is away costs a line: the switch has been turned, and the next turn
registers what answers then.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weighbridge.errors import DependencyError, WeighbridgeError

if TYPE_CHECKING:
    from weighbridge.feedback.registry import Registry
    from weighbridge.recipe import Recipe


def register_champion(registry: Registry) -> str:
    """What answers is the version `champion` of the registered model, where the recipe of its run says tracking.mlflow; registered once.

    Returns that, or why it could not be, as words that end a line; "" where the recipe asks for nothing.
    """
    from weighbridge.recipe import load_recipe

    current = registry.current()
    about = {} if current is None else registry.about(current.champion)
    path = Path(about.get("run") or "") / "recipe.yaml"
    if current is None or not about.get("run") or not path.exists():
        return ""
    try:
        recipe = load_recipe(path)
        if not recipe.tracking.mlflow.enabled:
            return ""
        return f"; version {register(recipe, registry.name, registry.path(current.champion), about)} in MLflow"
    except _troubles() as error:
        return f"; not registered in MLflow ({type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''})"


def register(recipe: Recipe, name: str, package: Path, about: dict[str, Any]) -> str:
    """MLflow's registry has this package under `name` once, and `champion` is its alias; return its version. Raises DependencyError."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    try:
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException
    except ModuleNotFoundError:
        raise DependencyError("tracking.mlflow needs mlflow", do="pip install 'weighbridge[mlflow]'") from None
    url = recipe.tracking.mlflow.url or beside(Path(about["run"]))
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


def beside(run: Path) -> str:
    """Return the URL of the store of a run whose recipe names none."""
    return f"sqlite:///{(run.resolve().parent / 'mlflow.db').as_posix()}"


def _troubles() -> tuple[type[Exception], ...]:
    """Return what a store that is away or refuses raises."""
    try:
        from mlflow.exceptions import MlflowException
    except ModuleNotFoundError:
        return (OSError, WeighbridgeError)
    return (OSError, WeighbridgeError, MlflowException)
