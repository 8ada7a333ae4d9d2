"""Law: what work took is counted by the machine's own counters where there are some, and nothing is made up where there are none."""

from __future__ import annotations

import time
from pathlib import Path

from weighbridge.storage.meter import Meter, cpu_seconds


def counter(place: Path, name: str, package: str, micro: int) -> None:
    folder = place / name
    folder.mkdir(exist_ok=True)
    (folder / "name").write_text(f"{package}\n")
    (folder / "energy_uj").write_text(f"{micro}\n")
    (folder / "max_energy_range_uj").write_text("10000000\n")


def test_joules_are_the_sum_of_all_packages_and_their_parts_are_not_counted_twice(tmp_path: Path) -> None:
    counter(tmp_path, "intel-rapl:0", "package-0", 1_000_000)
    counter(tmp_path, "intel-rapl:1", "package-1", 0)
    counter(tmp_path, "intel-rapl:0:0", "core", 0)
    counter(tmp_path, "intel-rapl:2", "psys", 0)
    meter = Meter(devices=False, place=tmp_path)
    counter(tmp_path, "intel-rapl:0", "package-0", 3_000_000)
    counter(tmp_path, "intel-rapl:1", "package-1", 500_000)
    counter(tmp_path, "intel-rapl:0:0", "core", 9_000_000)
    counter(tmp_path, "intel-rapl:2", "psys", 9_000_000)
    assert meter.spent().joules == 2.5


def test_a_counter_that_began_again_is_followed(tmp_path: Path) -> None:
    counter(tmp_path, "intel-rapl:0", "package-0", 9_000_000)
    meter = Meter(devices=False, place=tmp_path)
    counter(tmp_path, "intel-rapl:0", "package-0", 1_000_000)
    assert meter.spent().joules == 2.0


def test_without_a_counter_there_are_no_joules(tmp_path: Path) -> None:
    (tmp_path / "intel-rapl:0").mkdir()
    assert Meter(devices=False, place=tmp_path).spent().joules is None
    assert Meter(devices=False, place=tmp_path / "absent").spent().joules is None


def test_a_damaged_counter_is_no_counter(tmp_path: Path) -> None:
    counter(tmp_path, "intel-rapl:0", "package-0", 1)
    (tmp_path / "intel-rapl:0" / "energy_uj").write_text("many")
    assert Meter(devices=False, place=tmp_path).spent().joules is None


def test_seconds_of_processors_are_those_that_were_worked_and_not_those_that_were_slept() -> None:
    meter, began = Meter(devices=False), cpu_seconds()
    time.sleep(0.5)
    while cpu_seconds() - began < 0.1:
        sum(range(1000))
    spent = meter.spent()
    assert spent.seconds >= 0.5
    assert 0.1 <= spent.cpu_seconds < 0.4
