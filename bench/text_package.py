"""A package beside its own graph run bare in onnxruntime, from the same rows: what the package adds to the graph, and of what.

Three ways take turns: `bare` gives encoded arrays to a session, `graph` gives the same arrays to the package's session as it is called
there (with its checks), `package` answers strings. What `package` takes beyond `graph` is reading rows and cutting texts into tokens.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from contest import Rate, spread
from text_encode import column_of
from text_tasks import RESULTS, TEXTS, prepared, recipe

CALLS = {1: 50, 256: 1}  # answers a turn, by rows


def packaged(model: str, texts: str) -> Path:
    """Return a package of the untrained network of this model: its speed does not depend on its weights' values."""
    from weighbridge import preprocessing, training
    from weighbridge.export import export_onnx
    from weighbridge.models import build_network
    from weighbridge.preprocessing.feature import objects
    from weighbridge.runtime import golden_json, write_manifest
    from weighbridge.storage import fresh_folder, read_json, write_json
    from weighbridge.training.stage import network_spec

    folder = RESULTS / f"package-{model}-{texts}"
    encoder = preprocessing.Encoder.from_json(read_json(prepared(model, texts) / "preprocessing" / "encoder.json"))
    network = training.Deployable(build_network(network_spec(recipe(model, texts, 32, 1).training, encoder)), encoder.learnt).eval()
    export_onnx(network, encoder.blocks, fresh_folder(folder) / "model.onnx")
    column, target = encoder.features[0].column, encoder.learnt
    write_json(folder / "golden.json", golden_json({column: objects([])}, {column: "text"}, np.zeros((0, len(target.classes)))))
    about = {"format": 1, "name": model, "kind": target.kind, "classes": list(target.classes), "encoder": encoder.to_json()}
    about |= {"inputs": [{"name": column, "type": "text"}], "output": "probabilities"}
    write_json(folder / "package.json", about)
    write_manifest(folder)
    return folder


def package_rates(model: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Print rows/s of the three ways for one row and for 256, and return them."""
    import onnxruntime

    from weighbridge.runtime import Model

    texts = options.texts.split(",")[0]
    folder = packaged(model, texts)
    loaded = Model.load(folder, threads=options.threads)
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads, settings.inter_op_num_threads = options.threads, 1
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), settings, providers=["CPUExecutionProvider"])
    column, found = column_of(texts), []
    for rows, calls in CALLS.items():
        chosen = [column[place * rows : (place + 1) * rows] for place in range(calls)]
        rates = _turns(loaded, session, TEXTS[texts][0], chosen, options.repeats)
        print(f"\npackage: {model} on {texts}, {rows} row(s) at once, {options.threads} thread(s), {options.repeats} turns\n")
        print("| way | rows/s: median (min-max) | rows a CPU second |\n| --- | --- | --- |")
        for name, values in rates.items():
            print(f"| {name} | {spread([one.wall for one in values], ',.1f')} | {spread([one.cpu for one in values], ',.1f')} |")
        for name in ("graph", "package"):
            pairs = list(zip(rates[name], rates["bare"], strict=True))
            wall, cpu = [a.wall / b.wall for a, b in pairs], [a.cpu / b.cpu for a, b in pairs]
            print(f"| {name} / bare | {spread(wall, '.3f')} | {spread(cpu, '.3f')} |", flush=True)
        found.append({"part": "package", "model": model, "texts": texts, "rows": rows,
                      "rates": {name: [vars(one) for one in values] for name, values in rates.items()}})  # fmt: skip
    return found


def _turns(loaded: Any, session: Any, name: str, chosen: list[np.ndarray], repeats: int) -> dict[str, list[Rate]]:
    encoded = [loaded.encoder.encode({name: texts}) for texts in chosen]
    numbers, shape = np.arange(len(chosen[0])), (len(chosen[0]), len(loaded.classes))
    ways: dict[str, Callable[[int], object]] = {
        "bare": lambda call: session.run(["output"], encoded[call]),
        "graph": lambda call: loaded.run_encoded(encoded[call], numbers, shape),
        "package": lambda call: loaded.predict({name: chosen[call]}),
    }
    rates: dict[str, list[Rate]] = {way: [] for way in ways}
    for number in range(repeats + 1):
        spent = dict.fromkeys(ways, (0.0, 0.0))
        for call in range(len(chosen)):
            for way, work in ways.items():  # in turns within a turn: each answers the same rows a moment after the other
                start, used = time.perf_counter(), time.process_time()
                work(call)
                took = time.perf_counter() - start, time.process_time() - used
                spent[way] = spent[way][0] + took[0], spent[way][1] + took[1]
        rows = len(chosen) * len(numbers)
        for way, (wall, cpu) in spent.items():
            rates[way] += [Rate(wall=rows / wall, cpu=rows / cpu)] if number else []
    return rates
