"""Speed on texts, side by side in one run: encoding, training beside the Hugging Face Trainer, recurrent nets, packages beside bare graphs.

    python bench/text.py [--parts encode,train,rnn,package] [--model own,bert-mini,minilm] [--texts movies,spam] [--repeats 8]

Tokens are those of the texts; padding is never counted. Results are also written to bench/results/text/text.json.
First: python examples/fetch.py movies reviews spam minilm.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RATIOS = {
    "train": [("weigh", "trainer"), ("weigh", "trainer-grouped"), ("trainer-grouped", "trainer")],
    "rnn": [("weigh", "hand"), ("weigh", "hand-grouped")],
}
PROGRAMS = {
    "train": {"weigh": ["text_ours.py"], "trainer": ["text_trainer.py"], "trainer-grouped": ["text_trainer.py", "--grouped"]},
    "rnn": {"weigh": ["text_ours.py"], "hand": ["text_rnn.py"], "hand-grouped": ["text_rnn.py", "--grouped"]},
}


def beside(part: str, model: str, texts: str, options: argparse.Namespace) -> dict[str, Any]:
    """Let the contestants of a part train in turns; print the table and return the rates."""
    from contest import contest, table
    from text_tasks import prepared

    prepared(model, texts)
    given = ["--model", model, "--texts", texts, "--batch-size", str(options.batch_size), "--threads", str(options.threads)]
    given += ["--seconds", str(options.seconds)]
    commands = {name: [sys.executable, str(HERE / call[0]), *call[1:], *given] for name, call in PROGRAMS[part].items()}
    rates = contest(commands, options.repeats)
    head = f"{part}: {model} on {texts}, batch {options.batch_size}, fp32, {options.threads} thread(s), "
    print(
        "\n".join(["", head + f"{options.repeats} turns of {options.seconds:g} s", "", *table(rates, RATIOS[part], "tokens")]), flush=True
    )
    return {
        "part": part,
        "model": model,
        "texts": texts,
        "rates": {name: [dataclasses.asdict(one) for one in rates[name]] for name in rates},
    }


def train(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Weighbridge beside the Trainer: same encoder, rows, batch, precision, update rule and clipping."""
    return [beside("train", model, texts, options) for model in options.model.split(",") for texts in options.texts.split(",")]


def rnn(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Weighbridge's LSTM of both directions beside nn.LSTM over packed sequences."""
    return [beside("rnn", "rnn", texts, options) for texts in options.texts.split(",")]


def encode(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Encode the real texts on one core; each kind of token takes its turn."""
    from text_encode import encode_rates

    return encode_rates(options.repeats)


def package(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Answer rows by a package and by its bare graph, in turns."""
    from text_package import package_rates

    return [line for model in ("own", *(["minilm"] if "minilm" in options.model else [])) for line in package_rates(model, options)]


PARTS: dict[str, Callable[[argparse.Namespace], list[dict[str, Any]]]] = {"encode": encode, "train": train, "rnn": rnn, "package": package}


def main() -> int:
    """Print the tables and keep the figures."""
    from contest import machine

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--model", default="own,bert-mini,minilm")
    parser.add_argument("--texts", default="movies,spam")
    parser.add_argument("--repeats", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1)
    parser.add_argument("--output", type=Path, default=Path("bench/results/text/text.json"))
    options = parser.parse_args()
    if unknown := [name for name in options.parts.split(",") if name not in PARTS]:
        parser.error(f"unknown part {', '.join(unknown)}; known: {', '.join(PARTS)}")
    print(f"{machine()}; load average at the start {os.getloadavg()[0]:.1f}")
    found = [line for name in options.parts.split(",") for line in PARTS[name](options)]
    place = options.output
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(json.dumps({"machine": machine(), "load": os.getloadavg(), "results": found}, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
