"""`weigh serve` beside LitServe and beside the bare session, over loopback: requests a second, latency, start, memory.

    python bench/serving.py [--package runs/serving_bench/deployment/package] [--texts PACKAGE] [--repeats 6] [--only rows,tensors]

The client is wrk (Debian's package of that name). All share this machine's cores: what the client takes is missing to all servers alike.

    rows      one-row JSON requests, 64 at a time: weigh and LitServe (batches of up to 64 within 2 ms) take turns with the same body
    tensors   binary Open Inference requests of 32 rows, beside a bare session of onnxruntime on the same rows
    texts     one-row JSON requests to a package that takes milliseconds a row (--texts), beside its bare session
    alone     one request at a time: the median latency
    start     from the command to the first 200 of /v2/health/ready, and the resident memory of a worker
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from contest import machine, spread

ROOT = Path(__file__).resolve().parents[1]
RIVAL = ROOT / ".venv-bench-serving" / "bin" / "python"
PARTS = ("rows", "tensors", "texts", "alone", "start")
SCRIPT = """
wrk.method = "POST"
local file = io.open("{body}", "rb")
wrk.body = file:read("*a")
file:close()
{headers}
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format("RESULT %d %d %d %d %d\\n", summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
           e.connect + e.read + e.write + e.status + e.timeout))
end
"""


class Server:
    """A server in a process group of its own, stopped (SIGSTOP) while it has no turn."""

    def __init__(self, command: list[str], port: int, ready: str, **settings: Any) -> None:
        self.port, self.ready = port, ready
        self.started = time.perf_counter()
        self.process = subprocess.Popen(
            command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, **settings
        )
        self.start_s = self._wait()

    def _wait(self) -> float:
        while time.perf_counter() - self.started < 60:
            if self.process.poll() is not None:
                sys.exit(f"error: {self.process.args!r} ended with {self.process.returncode}")
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{self.ready}", timeout=5) as answer:
                    if answer.status == 200:
                        return time.perf_counter() - self.started
            except OSError:
                time.sleep(0.005)
        sys.exit(f"error: {self.process.args!r} was not ready within 60 s")

    def signal(self, number: int) -> None:
        os.killpg(self.process.pid, number)

    def end(self) -> None:
        self.signal(signal.SIGCONT)
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            print(f"  {self.process.args!r} did not end within 20 s", file=sys.stderr)
        with contextlib.suppress(ProcessLookupError):  # what is left of its group, for some servers leave their workers behind
            self.signal(signal.SIGKILL)


def free_port() -> int:
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        return int(place.getsockname()[1])


def weigh(package: Path, state: Path, *more: str) -> tuple[Server, str]:
    """Return a running `weigh serve` of the package, and a key of it."""
    port = free_port()
    command = [sys.executable, "-m", "weighbridge.cli", "serve", f"model={package}", "--port", str(port), "--state", str(state), *more]
    server = Server(command, port, "/v2/health/ready", cwd=ROOT)
    return server, (state / "first-admin-key").read_text(encoding="utf-8").strip()


def litserve(graph: Path) -> Server:
    port = free_port()
    return Server([str(RIVAL), str(ROOT / "bench" / "litserve_program.py"), str(graph), str(port), "2", "64"], port, "/health")


def wrk(server: Server, path: str, body: bytes, headers: dict[str, str], *, at_once: int, seconds: float) -> dict[str, float]:
    """Return requests a second, p50 and p99 in seconds, and errors of one turn; the server runs during it only."""
    with tempfile.TemporaryDirectory() as folder:
        place, script = Path(folder) / "body", Path(folder) / "post.lua"
        place.write_bytes(body)
        lines = "\n".join(f'wrk.headers["{name}"] = "{value}"' for name, value in headers.items())
        script.write_text(SCRIPT.format(body=place, headers=lines), encoding="utf-8")
        server.signal(signal.SIGCONT)
        command = ["wrk", "-t1", f"-c{at_once}", f"-d{seconds:g}s", "-s", str(script), f"http://127.0.0.1:{server.port}{path}"]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        server.signal(signal.SIGSTOP)
    found = re.search(r"RESULT (\d+) (\d+) (\d+) (\d+) (\d+)", said)
    if found is None:
        sys.exit(f"error: wrk said {said[-300:]}")
    requests, micros, p50, p99, errors = map(int, found.groups())
    return {"rate": requests / micros * 1e6, "p50": p50 / 1e6, "p99": p99 / 1e6, "errors": errors}


def bare_session(graph: Path, feed: dict[str, np.ndarray]) -> Callable[[float], float]:
    """Return a function that runs the graph for some seconds and returns rows/s: the better of one session on all cores and one a core."""
    import threading

    import onnxruntime

    def session(threads: int) -> Any:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        return onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])

    cores = len(os.sched_getaffinity(0))
    rows = len(next(iter(feed.values())))
    wide, single = session(cores), [session(1) for _ in range(cores)]

    def run(one: Any, until: float, done: list[int]) -> None:
        while time.perf_counter() < until:
            one.run(None, feed)
            done.append(rows)

    def rate(seconds: float) -> float:
        found = []
        for sessions in ([wide], single):
            counts: list[list[int]] = [[] for _ in sessions]
            start = time.perf_counter()
            threads = [
                threading.Thread(target=run, args=(one, start + seconds / 2, done)) for one, done in zip(sessions, counts, strict=True)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            found.append(sum(map(sum, counts)) / (time.perf_counter() - start))
        return max(found)

    return rate


def image_body(image: np.ndarray) -> bytes:
    value = {"uint8": base64.b64encode(image.tobytes()).decode(), "shape": list(image.shape)}
    return json.dumps({"rows": [{"image": value}]}).encode()


def tensor_body(images: np.ndarray) -> tuple[bytes, dict[str, str]]:
    raw = images.tobytes()
    head = {
        "inputs": [{"name": "image", "datatype": "UINT8", "shape": list(images.shape), "parameters": {"binary_data_size": len(raw)}}],
        "outputs": [{"name": "probabilities", "parameters": {"binary_data": True}}],
    }
    text = json.dumps(head).encode()
    return text + raw, {"Inference-Header-Content-Length": str(len(text)), "content-type": "application/octet-stream"}


def compare(
    ours: list[dict[str, float]], theirs: list[float], unit: str, rival: str, *, scale: float = 1.0, errors: float = 0
) -> dict[str, Any]:
    rates = [one["rate"] * scale for one in ours]
    ratios = [a / b for a, b in zip(rates, theirs, strict=True)]
    print(f"| contestant | {unit}/s: median (min-max) | p50, ms | p99, ms | errors |\n| --- | --- | --- | --- | --- |")
    p50, p99 = ([one[name] * 1000 for one in ours] for name in ("p50", "p99"))
    print(f"| weigh | {spread(rates, ',.0f')} | {spread(p50, '.2f')} | {spread(p99, '.2f')} | {sum(one['errors'] for one in ours):.0f} |")
    print(f"| {rival} | {spread(theirs, ',.0f')} | | | {errors:.0f} |\n\nweigh / {rival}: **{spread(ratios, '.2f')}**\n", flush=True)
    return {"weigh": rates, rival: theirs, "ratios": ratios, "p50_s": [one["p50"] for one in ours]}


def rows_part(options: argparse.Namespace, images: np.ndarray, state: Path) -> dict[str, Any]:
    server, key = weigh(options.package, state)
    rival = litserve(options.package / "model.onnx")
    rival.signal(signal.SIGSTOP)
    body, ours, theirs, errors = image_body(images[0]), [], [], 0.0
    plain = {"content-type": "application/json"}
    for turn in range(options.repeats + 1):
        mine = wrk(server, "/predict", body, plain | {"x-api-key": key}, at_once=64, seconds=options.seconds)
        other = wrk(rival, "/predict", body, plain, at_once=64, seconds=options.seconds)
        if turn:
            ours.append(mine)
            theirs.append(other["rate"])
            errors += other["errors"]
        print(f"  turn {turn}  weigh {mine['rate']:,.0f}  LitServe {other['rate']:,.0f}  load {os.getloadavg()[0]:.1f}", file=sys.stderr)
    server.end()
    rival.end()
    print(f"\nOne row a request, JSON, 64 at a time, {options.repeats} turns of {options.seconds:g} s\n")
    return compare(ours, theirs, "requests", "LitServe", errors=errors)


def tensors_part(options: argparse.Namespace, images: np.ndarray, state: Path) -> dict[str, Any]:
    server, key = weigh(options.package, state)
    body, headers = tensor_body(images[:32])
    rate = bare_session(options.package / "model.onnx", {"image.image": images[:32, :, :, None]})
    ours, theirs = [], []
    for turn in range(options.repeats + 1):
        mine = wrk(server, "/v2/models/model/infer", body, headers | {"x-api-key": key}, at_once=8, seconds=options.seconds)
        other = rate(options.seconds)
        if turn:
            ours.append(mine)
            theirs.append(other)
        print(f"  turn {turn}  weigh {mine['rate'] * 32:,.0f}  bare {other:,.0f} rows/s  load {os.getloadavg()[0]:.1f}", file=sys.stderr)
    server.end()
    print(f"\n32 rows a request, binary tensors, 8 at a time, {options.repeats} turns of {options.seconds:g} s\n")
    return compare(ours, theirs, "rows", "bare session", scale=32)


def texts_part(options: argparse.Namespace, images: np.ndarray, state: Path) -> dict[str, Any] | None:
    if options.texts is None:
        print("\ntexts: not measured, give --texts PACKAGE\n")
        return None
    from weighbridge.runtime import Model

    model = Model.load(options.texts)
    ((name, kind),) = model.signature.items()
    if kind != "text":
        sys.exit("error: --texts is a package that reads one text")
    golden = json.loads((options.texts / "golden.json").read_text(encoding="utf-8"))["columns"][name][0]
    feed = dict(model.encoder.encode({name: np.array([golden], dtype=object)}))
    rate = bare_session(options.texts / "model.onnx", feed)
    server, key = weigh(options.texts, state)
    body, headers = json.dumps({"rows": [{name: golden}]}).encode(), {"content-type": "application/json", "x-api-key": key}
    ours, theirs = [], []
    for turn in range(options.repeats + 1):
        mine = wrk(server, "/predict", body, headers, at_once=8, seconds=options.seconds)
        other = rate(options.seconds)
        if turn:
            ours.append(mine)
            theirs.append(other)
        print(f"  turn {turn}  weigh {mine['rate']:,.1f}  bare {other:,.1f} rows/s  load {os.getloadavg()[0]:.1f}", file=sys.stderr)
    server.end()
    print(f"\nOne text a request, JSON, 8 at a time, {options.repeats} turns of {options.seconds:g} s\n")
    return compare(ours, theirs, "rows", "bare session")


def alone_part(options: argparse.Namespace, images: np.ndarray, state: Path) -> dict[str, Any]:
    server, key = weigh(options.package, state)
    headers = {"content-type": "application/json", "x-api-key": key}
    turns = [
        wrk(server, "/predict", image_body(images[0]), headers, at_once=1, seconds=options.seconds) for _ in range(options.repeats + 1)
    ][1:]
    server.end()
    p50, p99 = ([one[name] * 1000 for one in turns] for name in ("p50", "p99"))
    print(f"\nOne request at a time, JSON: p50 **{spread(p50, '.3f')}** ms, p99 {spread(p99, '.3f')} ms, {len(turns)} turns\n", flush=True)
    return {"p50_s": [one["p50"] for one in turns], "p99_s": [one["p99"] for one in turns]}


def start_part(options: argparse.Namespace, images: np.ndarray, state: Path) -> dict[str, Any]:
    import psutil

    starts, memory = [], []
    for number in range(options.repeats + 1):
        server, key = weigh(options.package, state / str(number))
        headers = {"content-type": "application/json", "x-api-key": key}
        wrk(server, "/predict", image_body(images[0]), headers, at_once=64, seconds=1)
        workers = [
            one for one in psutil.Process(server.process.pid).children(recursive=True) if "weighbridge.serving.worker" in one.cmdline()
        ]
        if number:
            starts.append(server.start_s)
            memory += [one.memory_info().rss / 1e6 for one in workers]
        server.end()
    print(f"\nCommand to ready: **{spread(starts, '.2f')}** s, {len(starts)} starts; a worker resident: **{spread(memory, '.0f')}** MB\n")
    return {"ready_s": starts, "worker_mb": memory}


def main() -> int:
    """Print the tables. Exit code 2 where wrk, the package or the rival's environment is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--package", type=Path, default=ROOT / "runs" / "serving_bench" / "deployment" / "package")
    parser.add_argument("--texts", type=Path)
    parser.add_argument("--repeats", type=int, default=6)
    parser.add_argument("--seconds", type=int, default=3, help="of a turn; wrk takes whole ones")
    parser.add_argument("--only", default=",".join(PARTS))
    parser.add_argument("--output", type=Path, default=ROOT / "bench" / "results" / "serving.json")
    options = parser.parse_args()
    chosen = options.only.split(",")
    if unknown := set(chosen) - {*PARTS}:
        parser.error(f"{', '.join(unknown)}: the parts are {', '.join(PARTS)}")
    if shutil.which("wrk") is None:
        parser.error("wrk is not installed: apt-get install wrk")
    if not (options.package / "manifest.json").is_file():
        parser.error(f"there is no package {options.package}: weigh run bench/serving.yaml")
    if "rows" in chosen and not RIVAL.exists():
        parser.error("LitServe's environment is missing: make .venv-bench-serving/.installed")
    images = np.random.default_rng(7).integers(0, 256, (64, 28, 28), dtype=np.uint8)
    print(f"{machine()}; load {os.getloadavg()[0]:.1f}")
    found: dict[str, Any] = {"machine": machine()}
    runs = {"rows": rows_part, "tensors": tensors_part, "texts": texts_part, "alone": alone_part, "start": start_part}
    for part in chosen:
        with tempfile.TemporaryDirectory() as folder:
            found[part] = runs[part](options, images, Path(folder) / "state")
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(found, indent=1), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
