"""The training stage: encoded rows in, the kept weights, their history and their price out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from weighbridge.errors import RecipeError, RunError
from weighbridge.findings import Finding
from weighbridge.models import NetworkSpec, build_network, choose_type, count_all, count_parameters, derived_sizes
from weighbridge.models.pretrained import describe_source
from weighbridge.models.tuning import begin, merge
from weighbridge.models.vectors import begin_with_vectors
from weighbridge.preprocessing import Encoder, open_arrays, open_source, vector_width
from weighbridge.storage import fresh_folder, read_json, sha256_json, write_json
from weighbridge.storage.control import StopRequest
from weighbridge.storage.progress import Curve, Progress, unwatched
from weighbridge.storage.seeds import key_of
from weighbridge.storage.tensors import digest_tensors, load_tensors, save_tensors
from weighbridge.training.augment import Augmenter
from weighbridge.training.balance import Balance
from weighbridge.training.batches import Batches
from weighbridge.training.checkpoint import BEST, Progressed, Trained, load_state
from weighbridge.training.company import company
from weighbridge.training.features import with_features
from weighbridge.training.findings import sizes_in_words, training_findings
from weighbridge.training.findings_private import private_findings
from weighbridge.training.findings_remedies import remedy_findings
from weighbridge.training.lesson import Lesson, Taught, Teaching, without_lesson
from weighbridge.training.loop import Judge, Loop, Surroundings, best_epoch, best_step
from weighbridge.training.losses import choose_loss, make_loss
from weighbridge.training.memory import free_bytes, keep_freed_memory
from weighbridge.training.optimizers import choose_lr, make_optimizer
from weighbridge.training.order import Order, choose_order
from weighbridge.training.padding import padding_findings
from weighbridge.training.plan import Plan, average_of, choose_threads, make_plan, place
from weighbridge.training.predict import Deployable, forward_all
from weighbridge.training.private import poisson_of
from weighbridge.training.source import source_findings, vector_findings
from weighbridge.training.step import Rules, Updater
from weighbridge.training.weights import row_weights

if TYPE_CHECKING:
    from weighbridge.preprocessing import Arrays
    from weighbridge.recipe import TrainingSection


@dataclass(frozen=True, kw_only=True)
class Start:
    """A network that training goes on from: its spec, its weights, and the hash that names them."""

    spec: NetworkSpec
    tensors: dict[str, Tensor]
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Course:
    """All that one training is made of: rows, network, rules and where it is kept.

    Attributes:
        start: the network that it goes on from; None: the recipe's, from its first weights.
        lesson: who teaches it beside the truth; None: nobody.
        keep_zeros: weights that are zero in the start stay so (training.sparsify).
        data: the run's data folder, for weights and groups of the rows (beside.py); None: no row has any.
    """

    section: TrainingSection
    encoder: Encoder
    train: Arrays
    validation: Arrays
    folder: Path
    seed: int
    start: Start | None = None
    lesson: Lesson | None = None
    keep_zeros: bool = False
    data: Path | None = None

    @classmethod
    def of_run(cls, run: Path, section: TrainingSection, *, seed: int, folder: Path) -> Self:
        """Return the training of a section on the rows that a run has encoded, kept in `folder`."""
        arrays = run / "preprocessing"
        return cls(
            section=section, seed=seed, folder=folder, data=run / "data", encoder=Encoder.from_json(read_json(arrays / "encoder.json")),
            train=open_arrays(arrays / "train"), validation=open_arrays(arrays / "validation"),
        )  # fmt: skip

    @cached_property
    def weights(self) -> np.ndarray | None:
        """How much each training row counts, float32 [n] with mean 1; None: all alike."""
        return row_weights(self)

    @property
    def spec(self) -> NetworkSpec:
        """The network that the recipe and the columns ask for, or the one that training goes on from."""
        return network_spec(self.section, self.encoder) if self.start is None else self.start.spec

    def new(self, plan: Plan) -> tuple[Updater, Batches, Trained]:
        """Return a network with first weights, its updater and its batches, under a plan."""
        network = place(self.first_network(), plan).train()
        optimizer = make_optimizer(self.section, network, plan.lr)
        average = average_of(network) if self.section.ema else None
        updater = Updater(network, optimizer, self._rules(plan, network), average=average)
        private = self.section.privacy.enabled
        watched = isinstance(network, Taught) or bool(self.section.debias.columns or self.section.constrain.columns) or private
        if plan.compile and not watched:  # a lesson watches what is inside; an adversary and multipliers take gradients of their own
            updater.forward = torch.compile(network)
        batches = poisson_of(self, plan) if private else self._batches(plan)
        return updater, batches, Trained(network=network, optimizer=optimizer, average=average, companions=updater.rules.companions)

    def _batches(self, plan: Plan) -> Batches:
        return Batches(
            arrays=self.train, batch_size=plan.batch_size, seed=self.seed, device=torch.device(plan.device),
            order=Order(block=plan.block, window=plan.window), balance=self._balance(),
        )  # fmt: skip

    def first_network(self) -> nn.Module:
        """Return the network with first weights: drawn by the seed, of a pretrained encoder those of its source, or those of the start."""
        torch.manual_seed(key_of(self.seed, "weights") % 2**63)
        network = build_network(self.spec)
        if self.start is not None:
            network.load_state_dict(self.start.tensors)
        elif self.section.model.vectors:
            begin_with_vectors(network, self.encoder, Path(self.section.model.vectors))
        elif self.spec.pretrained:
            network = begin(network, self.spec, self.section.model)
        return Taught(network, self.lesson.teacher) if self.lesson is not None and self.lesson.features else network

    def _balance(self) -> Balance | None:
        way = self.section.balance
        return None if way == "none" or self.train.target is None else Balance(target=self.train.target, way=way)

    @property
    def identity(self) -> dict[str, Any]:
        """What the weights depend on beside recipe, data and plan: empty for the recipe's own training."""
        begun = {} if self.start is None else {"start": self.start.sha256}
        taught = {} if self.lesson is None else {"lesson": self.lesson.identity}
        return {**begun, **taught, **({"keep_zeros": True} if self.keep_zeros else {})}

    def _rules(self, plan: Plan, network: nn.Module) -> Rules:
        target = self.encoder.learnt
        counts = (
            np.bincount(self.train.target, minlength=len(target.classes))
            if target.kind == "category" and self.train.target is not None
            else None
        )
        loss = make_loss(self.section, target, counts, torch.device(plan.device))
        if self.lesson is not None:
            place(self.lesson.teacher, plan)
        return Rules(
            loss=loss,
            teaching=None if self.lesson is None else Teaching(self.lesson, network, loss),
            keep_zeros=self.keep_zeros,
            augmenter=Augmenter(self.section.augment, self.encoder.blocks, kind=target.kind, outputs=self.spec.outputs),
            precision=plan.precision,
            seed=self.seed,
            l1=self.section.l1,
            clip=None if self.section.privacy.enabled else self.section.clip,  # its own cuts rows
            ema=self.section.ema,
            companions=company(self, plan, network, loss),
            quick_dropout=plan.device == "cpu" and not plan.compile and any(block.kind == "text" for block in self.encoder.blocks),
        )


def network_spec(section: TrainingSection, encoder: Encoder) -> NetworkSpec:
    """Return what is to be built. Raises RecipeError when the recipe asks for what the columns do not have."""
    if not encoder.blocks:
        raise RecipeError(
            "no input column is left to learn from", do="see the findings data.* for what was left out and why, or set data.columns"
        )
    options = section.model
    target = encoder.learnt
    source = open_source(options.source) if options.source else None
    if source is not None and source.kind == "text":
        _check_tokens(encoder)
    return NetworkSpec(
        type=choose_type(options, encoder.blocks),
        blocks=encoder.blocks,
        outputs=1 if target.kind == "number" else len(target.classes),
        sizes=derived_sizes(options),
        activation=options.activation,
        dropout=options.dropout,
        residual=options.residual,
        convolutions=options.convolutions,
        norm=options.norm,
        flatten=options.flatten,
        hidden_given=options.hidden is not None,
        depth_given=options.depth,
        cell=options.cell,
        bidirectional=options.bidirectional,
        options=options.options,
        pretrained=describe_source(source, options) if source else None,
        vectors=vector_width(Path(options.vectors)) if options.vectors else None,
    )


def _check_tokens(encoder: Encoder) -> None:
    """Raise RecipeError where a text is cut into other tokens than those of the pretrained model that reads it."""
    for feature in encoder.features:
        tokens = getattr(feature, "tokens", "pretrained")
        if tokens != "pretrained":
            raise RecipeError(
                f"training.model.type: pretrained reads the tokens of its own tokenizer, and preprocessing.text.tokens is {tokens}",
                do="set preprocessing.text.tokens to auto or pretrained",
            )


def prepare(course: Course, *, command: str, progress: Progress, stop: StopRequest, curve: Curve = unwatched) -> list[Finding]:
    """`folder` holds model.safetensors, model.json, plan.json and history.json; returns what training was and cost.

    A training that was under way is taken up where it was. Raises TrainingError, Stopped, RecipeError, StorageError.
    """
    _check_metric(course)
    torch.set_num_threads(choose_threads(course.section.threads))
    keep_freed_memory()
    course = with_features(course, progress=progress, stop=stop)
    plan = _plan(course, progress)
    torch.set_num_threads(plan.threads)
    plan_hash = sha256_json(plan.identity | course.identity)
    updater, batches, trained = course.new(plan)
    kept = partial(best_step, section=course.section)
    progressed, warnings = load_state(course.folder / "checkpoints", trained, plan=plan_hash, device=plan.device, best_step=kept)
    for warning in warnings:
        progress(warning, 0, None)
    around = Surroundings(folder=course.folder, plan_hash=plan_hash, progress=progress, stop=stop, curve=curve)
    judge = Judge(arrays=course.validation, target=course.encoder.learnt)
    progressed = Loop(course.section, plan, updater, trained, batches, judge, around).run(progressed)
    counts = count_parameters(trained.network), count_all(trained.network)
    _keep(course, trained.network, progressed)
    found = training_findings(course, plan, progressed, command, parameters=counts[0])
    found += [*remedy_findings(course, batches, progressed, command), *private_findings(course, trained, command)]
    found += [*padding_findings(batches, command), *vector_findings(course.section.model, course.encoder, command)]
    return [*found, *source_findings(course.spec, course.section.model, counts, command)]


def load_network(folder: Path) -> nn.Module:
    """Return the kept network of a training folder, fp32 on the CPU, in evaluation mode. Raises RunError when it is damaged."""
    try:
        network = build_network(NetworkSpec.from_json(read_json(folder / "model.json")["spec"]))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise RunError(f"{folder / 'model.json'} does not describe a network ({error})", do="run the recipe again") from None
    tensors, _ = load_tensors(folder / "model.safetensors")
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        raise RunError(f"{folder}: the weights do not fit model.json ({str(error).splitlines()[0]})", do="run the recipe again") from None
    return network.eval()


def start_of(run: Path | str) -> Start:
    """Return the trained network of a run as a start for another training. Raises RunError when it is not there or damaged."""
    folder = Path(run) / "training"
    network, spec = load_network(folder), NetworkSpec.from_json(read_json(folder / "model.json")["spec"])
    return Start(spec=spec, tensors=dict(network.state_dict()), sha256=model_hash(folder))


def network_answers(folder: Path, encoder: Encoder) -> Callable[[Arrays], np.ndarray]:
    """Return the function from encoded rows to outputs of a kept network. Raises RunError when it is damaged."""
    network = Deployable(load_network(folder), encoder.learnt)
    return partial(forward_all, network)


def model_hash(folder: Path) -> str:
    """Return the SHA-256 of the kept weights."""
    return str(read_json(folder / "model.json")["sha256"])


def _check_metric(course: Course) -> None:
    metric, kind = course.section.early_stopping.metric, course.encoder.learnt.kind
    if (metric == "rmse") != (kind == "number") and metric not in ("auto", "loss"):
        fitting = "rmse" if kind == "number" else "accuracy"
        raise RecipeError(
            f"training.early_stopping.metric: {metric} does not fit a target of type {kind}", do=f"choose auto, loss or {fitting}"
        )
    choose_loss(course.section, kind)
    if course.section.balance != "none" and kind != "category":
        raise RecipeError(
            f"training.balance: {course.section.balance} does not fit a target of type {kind}", do="it is for classes; leave it out"
        )


def _plan(course: Course, progress: Progress) -> Plan:
    """Return the plan of the folder, or measure one and write it down."""
    path = course.folder / "plan.json"
    if path.exists():
        return Plan.from_json(read_json(path))
    progress("plan", 0, 1, "measuring batch size, precision and memory format")
    plan = measure_plan(course)
    fresh_folder(course.folder / "checkpoints")
    write_json(path, plan.to_json())
    form = plan.memory_format.replace("_", " ")
    progress(
        "plan",
        1,
        1,
        f"{describe_network(course)}; {plan.batch_size} rows a step, {plan.precision}, {form}, {plan.rows_per_second:,.0f} rows/s",
    )
    return plan


def measure_plan(course: Course) -> Plan:
    """Return the recipe's choices, and those that a short trial on this machine makes where it says auto."""
    train = course.train
    return make_plan(
        course.section,
        order=choose_order(
            "whole" if course.section.balance != "none" or course.section.privacy.enabled else course.section.order,
            row_bytes=train.row_bytes,
            rows=len(train),
            free_bytes=free_bytes(),
        ),
        rows=len(course.train),
        lr=choose_lr(course.section, course.spec.type),
        images=any(block.kind == "image" for block in course.encoder.blocks),
        texts=any(block.kind == "text" for block in course.encoder.blocks),
        kind=course.encoder.learnt.kind,
        build=lambda candidate: course.new(candidate)[:2],
    )


def describe_network(course: Course) -> str:
    """Return the network's name and what the size dial became."""
    return f"{course.spec.type} {course.section.model.size}: {sizes_in_words(course.spec)}"


def _keep(course: Course, network: nn.Module, progressed: Progressed) -> None:
    """Write the kept weights and how they came about."""
    tensors, meta = load_tensors(course.folder / BEST)
    own = network.student if isinstance(network, Taught) else network
    counts = {"parameters": count_parameters(own), "all_parameters": count_all(own)}
    if course.section.model.tune == "lora":
        network.load_state_dict(tensors)
        tensors = merge(network).state_dict()
    tensors = without_lesson(network, tensors)
    digest = digest_tensors(tensors)
    save_tensors(course.folder / "model.safetensors", tensors, meta={"step": meta["step"], "sha256": digest})
    metric = course.section.early_stopping.metric
    history = {
        "epochs": progressed.epochs,
        "best_epoch": progressed.epochs[best_epoch(progressed.epochs, course.section)]["epoch"],
        "metric": "loss" if metric == "auto" else metric,
        "seconds": progressed.elapsed_s,
    }
    write_json(course.folder / "history.json", history)
    write_json(course.folder / "model.json", {"spec": course.spec.to_json(), "sha256": digest, **counts})
