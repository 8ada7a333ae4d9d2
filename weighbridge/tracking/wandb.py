"""Weights & Biases: an offline run under RUN/tracking/wandb, which `wandb sync` sends when the user says so; or a server by URL."""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING, Any

from weighbridge.storage import fresh_folder
from weighbridge.tracking.record import PLACE, Epochs, Outcome, Record, findings_table, measured, points

if TYPE_CHECKING:
    from weighbridge.recipe import Recipe

EXIT = {"finished": 0, "failed": 1, "stopped": 143}


class Wandb:
    """The run in W&B. Offline, its folder is written anew at each sitting from the whole history: each epoch stands in it once."""

    def __init__(self, recipe: Recipe, record: Record, memory: dict[str, str]) -> None:
        # nothing is reported to the makers of W&B, and nothing of this machine, of git or of the terminal is collected
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        import wandb

        options = recipe.tracking.wandb
        place = record.folder.resolve() / PLACE
        if options.url is None:
            fresh_folder(place / "wandb")
        os.environ["WANDB_DATA_DIR"] = str(place / "wandb")  # files of artifacts wait there until they are sent
        settings = wandb.Settings(
            mode="offline" if options.url is None else "online",
            silent=True, console="off", disable_git=True, disable_code=True, x_disable_stats=True, x_disable_meta=True,
            x_disable_machine_info=True, init_timeout=30, reinit="create_new",
            **({} if options.url is None else {"base_url": options.url}),
        )  # fmt: skip
        if options.url is None or "id" not in memory:  # offline: anew, and the helper of a killed sitting may still hold the old name
            memory["id"] = secrets.token_hex(8)
        self._wandb = wandb
        self._run: Any = wandb.init(
            project=options.project, entity=options.entity, name=record.name, id=memory["id"], dir=str(place),
            config=record.parameters, resume=None if options.url is None else "allow", settings=settings,
        )  # fmt: skip
        self._seen = int(self._run.step) - 1 if options.url is not None else -1

    def curve(self, epochs: Epochs) -> None:
        for epoch in epochs:
            step = int(epoch["step"])
            if step > self._seen:
                self._run.log(points(epoch), step=step, commit=True)
                self._seen = step

    def deliver(self, record: Record) -> None:
        self._run.summary.update(measured(record.findings))
        heads, rows = findings_table(record.findings)
        shown: dict[str, Any] = {"findings": self._wandb.Table(columns=heads, data=rows)}
        report = record.folder / "report.html"
        if report.exists():
            shown["report"] = self._wandb.Html(report.read_text(encoding="utf-8"), inject=False)
        self._run.log(shown)
        self._artifact(record, "report", record.files)
        if record.package is not None:
            self._artifact(record, "model", sorted(record.package.iterdir()))

    def _artifact(self, record: Record, kind: str, files: list[Any]) -> None:
        artifact = self._wandb.Artifact(f"{self._run.id}-{kind}", type=kind)
        for file in files:
            artifact.add_file(str(file), name=file.name)
        self._run.log_artifact(artifact)

    def close(self, outcome: Outcome) -> None:
        self._run.finish(exit_code=EXIT[outcome])
