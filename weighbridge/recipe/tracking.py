"""The section `tracking`: who else is told of a run."""

from __future__ import annotations

from typing import Any

from pydantic import model_validator

from weighbridge.recipe.section import Key, Section


class TensorboardOptions(Section):
    enabled: bool = Key(False, "write event files to RUN/tracking/tensorboard")


class MlflowOptions(Section):
    enabled: bool = Key(False, "record the run in MLflow")
    url: str | None = Key(None, "tracking server or database URL; default: the SQLite file mlflow.db beside the run folders")
    experiment: str = Key("weighbridge", "MLflow experiment that the run belongs to", min_length=1)


class WandbOptions(Section):
    enabled: bool = Key(False, "record the run in Weights & Biases")
    url: str | None = Key(None, "server to send to while running; default: none, an offline run that `wandb sync` can send")
    project: str = Key("weighbridge", "W&B project that the run belongs to", min_length=1)
    entity: str | None = Key(None, "W&B user or team, for a server")


class TrackingSection(Section):
    tensorboard: TensorboardOptions = Key(TensorboardOptions(), "TensorBoard: pip install 'weighbridge[tensorboard]'")
    mlflow: MlflowOptions = Key(MlflowOptions(), "MLflow: pip install 'weighbridge[mlflow]'")
    wandb: WandbOptions = Key(WandbOptions(), "Weights & Biases: pip install 'weighbridge[wandb]'")
    package: bool = Key(True, "give the model package to MLflow and W&B, too")

    @model_validator(mode="before")
    @classmethod
    def _named_is_enabled(cls, value: Any) -> Any:
        """Let `tracking: [mlflow]`, `tracking: mlflow` and `mlflow: {url: ...}` switch on what they name."""
        if isinstance(value, str):
            value = [value]
        if isinstance(value, list):
            value = {name if isinstance(name, str) else str(name): True for name in value}
        if not isinstance(value, dict):
            return value
        return {name: _switched(given) if name in cls.model_fields and name != "package" else given for name, given in value.items()}


def _switched(given: Any) -> Any:
    """Return a tracker's options with `enabled` said: a mapping, an empty value or true switch it on."""
    if given is None or isinstance(given, bool):
        return {"enabled": given is not False}
    return {"enabled": True, **given} if isinstance(given, dict) else given
