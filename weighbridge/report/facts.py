"""What names a run and the place it ran at, for every form of the report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from weighbridge.findings import Message
from weighbridge.report.evidence import Run
from weighbridge.report.words import Language, duration, number, plain, speaker

HASHES = {"recipe_sha256": Message("recipe"), "data_sha256": Message("data"), "model_sha256": Message("model")}


def facts(run: Run, language: Language) -> tuple[str, ...]:
    """Return what names the run: short hashes, day, cores, time."""
    say = speaker(language)
    said = [f"{say(word)} {plain(str(run.about[key]))[:8]}" for key, word in HASHES.items() if run.about.get(key)]
    if run.about.get("started"):
        said.append(plain(str(run.about["started"]))[:10])
    if isinstance(run.machine.get("cores"), int):
        said.append(say(Message("{n} cores", n=run.machine["cores"])))
    if isinstance(run.about.get("seconds"), int | float):
        said.append(duration(run.about["seconds"], language))
    return tuple(said)


def about(run: Run, language: Language) -> Iterator[tuple[str, str]]:
    """Yield what else is known of the run: full hashes, machine, versions."""
    say, known = speaker(language), run.about
    names = {**HASHES, "started": Message("started")}
    yield from ((say(word), plain(str(known[key]))) for key, word in names.items() if known.get(key))
    machine = {key: value for key, value in run.machine.items() if value not in (None, "")}
    if isinstance(machine.get("memory_bytes"), int):
        machine["memory"] = number(machine.pop("memory_bytes"), "bytes", language)
    if machine:
        yield say(Message("machine")), plain(", ".join(f"{key} {value}" for key, value in machine.items()))
    versions = known.get("versions")
    if isinstance(versions, Mapping) and versions:
        yield say(Message("versions")), plain(", ".join(f"{name} {version}" for name, version in versions.items()), 2000)
