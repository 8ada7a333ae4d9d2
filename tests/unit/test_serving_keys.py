"""Law: a key opens what its roles say, from when it was made until it expires or is revoked; its secret is shown once and kept nowhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weighbridge.errors import RunError, UsageError
from weighbridge.serving.keys import PATTERN, Key, KeyFile, Keys
from weighbridge.serving.quota import Allowance

ROOT = Path(__file__).resolve().parents[2]
DAY_S = 86_400


class Clock:
    """A clock that a test sets."""

    def __init__(self, now_s: float = 1_800_000_000.0) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s


def opened(folder: Path, clock: Clock) -> Keys:
    return Keys(folder, clock=clock, monotonic=clock)


def test_a_key_has_256_random_bits_and_its_file_holds_none_of_them(tmp_path: Path) -> None:
    texts = [KeyFile(tmp_path).add("one", ["predict"])[1] for _ in range(20)]
    secrets = {text.split("_", 2)[2] for text in texts}
    assert len(secrets) == 20
    assert all(PATTERN.fullmatch(text) and len(text.split("_", 2)[2]) * 6 >= 256 for text in texts)
    content = (tmp_path / "keys.json").read_text()
    assert not any(secret in content for secret in secrets)
    assert (tmp_path / "keys.json").stat().st_mode & 0o777 == 0o600


def test_the_first_start_makes_one_admin_key_and_no_other_start_does(tmp_path: Path) -> None:
    made = KeyFile(tmp_path).first()
    assert made is not None
    assert made[0].roles == {"admin"}
    assert KeyFile(tmp_path).first() is None
    assert len(KeyFile(tmp_path).list()) == 1


def test_a_key_that_was_made_opens_and_any_other_text_does_not(tmp_path: Path) -> None:
    clock = Clock()
    key, text = KeyFile(tmp_path, clock=clock).add("one", ["predict", "label"])
    keys = opened(tmp_path, clock)
    found = keys.check(text)
    assert isinstance(found, Key)
    assert (found.id, found.roles) == (key.id, {"predict", "label"})
    for at in range(len(text)):
        changed = text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :]
        assert isinstance(keys.check(changed), str), f"character {at}"
    for other in ("", "wb_", text[:-1], text + "A", text + "\n", f" {text}", text.upper(), "é" * 58, "wb_" + "0" * 10 + "_" + "A" * 43):
        assert isinstance(keys.check(other), str)


@pytest.fixture(scope="module")
def one_key(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    folder = tmp_path_factory.mktemp("keys")
    KeyFile(folder).add("one", ["predict"])
    return opened(folder, Clock())


@given(st.text(max_size=80))
def test_no_text_breaks_the_check(one_key: Keys, text: str) -> None:
    assert isinstance(one_key.check(text), str)


def test_what_is_said_of_a_key_is_said_only_to_who_has_its_secret(tmp_path: Path) -> None:
    clock = Clock()
    key, text = KeyFile(tmp_path, clock=clock).add("one", ["predict"])
    KeyFile(tmp_path, clock=clock).revoke(key.id)
    keys = opened(tmp_path, clock)
    assert "revoked" in str(keys.check(text))
    assert keys.check(f"wb_{key.id}_{'A' * 43}") == keys.check(f"wb_{'0' * 10}_{'A' * 43}") == "is not known"


def test_a_key_is_revoked_within_a_second_without_a_restart(tmp_path: Path) -> None:
    clock = Clock()
    key, text = KeyFile(tmp_path, clock=clock).add("one", ["predict"])
    keys = opened(tmp_path, clock)
    assert isinstance(keys.check(text), Key)
    KeyFile(tmp_path, clock=clock).revoke(key.id)
    clock.now_s += 1.0
    assert "revoked on 2027-01-15" in str(keys.check(text))
    _, other = KeyFile(tmp_path, clock=clock).add("two", ["predict"])
    clock.now_s += 1.0
    assert isinstance(keys.check(other), Key), "one that was made meanwhile opens"


def test_the_file_is_looked_at_once_a_second_at_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    _, text = KeyFile(tmp_path, clock=clock).add("one", ["predict"])
    keys, looks = opened(tmp_path, clock), list[object]()
    stat = os.stat
    monkeypatch.setattr(os, "stat", lambda path: looks.append(path) or stat(path))
    for _ in range(10_000):
        keys.check(text)
        clock.now_s += 0.001
    assert 9 <= len(looks) <= 10


def test_a_key_expires_to_the_second(tmp_path: Path) -> None:
    clock = Clock()
    _, text = KeyFile(tmp_path, clock=clock).add("one", ["predict"], expires_in_s=DAY_S)
    keys = opened(tmp_path, clock)
    clock.now_s += DAY_S - 0.001
    assert isinstance(keys.check(text), Key)
    clock.now_s += 0.001
    assert "expired on 2027-01-16" in str(keys.check(text))


def test_a_rotated_key_opens_for_its_grace_and_its_successor_has_what_it_had(tmp_path: Path) -> None:
    clock = Clock()
    file = KeyFile(tmp_path, clock=clock)
    bounds = Allowance(rate_per_s=5, burst=7, rows_per_day=100)
    old, text = file.add("one", ["label"], expires_in_s=90 * DAY_S, allowance=bounds)
    clock.now_s += 10 * DAY_S
    new, successor = file.rotate(old.id, grace_s=3600)
    assert (new.name, new.roles, new.allowance) == ("one", {"label"}, bounds)
    assert new.expires_s == clock.now_s + 90 * DAY_S
    keys = opened(tmp_path, clock)
    clock.now_s += 3599
    assert isinstance(keys.check(text), Key)
    clock.now_s += 1
    assert "expired" in str(keys.check(text))
    assert isinstance(keys.check(successor), Key)
    with pytest.raises(UsageError, match="expired"):
        file.rotate(old.id, grace_s=3600)


@pytest.mark.parametrize("damage", ["gone", "cut", "no json", "other", "mode", "twice", "newer"])
def test_a_file_that_is_gone_or_damaged_lets_nobody_in_and_stops_a_start(tmp_path: Path, damage: str) -> None:
    clock = Clock()
    _, text = KeyFile(tmp_path, clock=clock).add("one", ["predict"])
    path = tmp_path / "keys.json"
    keys, content = opened(tmp_path, clock), path.read_text()
    told = json.loads(content)
    {
        "gone": path.unlink,
        "cut": lambda: path.write_text(content[:-20]),
        "no json": lambda: path.write_text("keys"),
        "other": lambda: path.write_text(json.dumps(told | {"keys": [told["keys"][0] | {"roles": ["root"]}]})),
        "mode": lambda: (path.write_text(content + "\n"), path.chmod(0o644)),
        "twice": lambda: path.write_text(json.dumps(told | {"keys": told["keys"] * 2})),
        "newer": lambda: path.write_text(json.dumps(told | {"format": 2})),
    }[damage]()
    clock.now_s += 1
    assert isinstance(keys.check(text), str)
    assert keys.damage
    with pytest.raises(RunError) as caught:
        opened(tmp_path, clock)
    assert told["hashing"] not in str(caught.value)
    path.unlink(missing_ok=True)
    path.write_text(content)
    path.chmod(0o600)
    clock.now_s += 1
    assert isinstance(keys.check(text), Key), "a file that is restored opens again"
    assert not keys.damage


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"name": "", "roles": ["predict"]}, "1 to 100"),
        ({"name": "a\nb", "roles": ["predict"]}, "printable"),
        ({"name": "one", "roles": []}, "needs a role"),
        ({"name": "one", "roles": ["predcit"]}, "did you mean 'predict'"),
        ({"name": "one", "roles": ["predict"], "expires_in_s": 0}, "in the future"),
        ({"name": "one", "roles": ["predict"], "expires_in_s": float("nan")}, "in the future"),
    ],
)
def test_what_can_not_be_a_key_is_refused_and_changes_nothing(tmp_path: Path, arguments: dict[str, object], said: str) -> None:
    file = KeyFile(tmp_path)
    file.add("before", ["predict"])
    content = file.path.read_bytes()
    with pytest.raises(UsageError, match=said):
        file.add(**arguments)  # type: ignore[arg-type]
    assert file.path.read_bytes() == content


@pytest.mark.parametrize(
    "bounds",
    [
        {"rate_per_s": 0.0},
        {"rate_per_s": -1.0},
        {"rate_per_s": float("nan")},
        {"burst": 5},
        {"rate_per_s": 1.0, "burst": 0},
        {"rows_per_day": -1},
    ],
)
def test_bounds_that_can_not_be_kept_are_refused(bounds: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        Allowance(**bounds)  # type: ignore[arg-type]


def test_a_whole_key_given_as_an_id_is_not_printed(tmp_path: Path) -> None:
    _, text = KeyFile(tmp_path).add("one", ["predict"])
    with pytest.raises(UsageError) as caught:
        KeyFile(tmp_path).revoke(text)
    assert text[14:] not in str(caught.value)


def test_a_key_does_not_show_its_hash() -> None:
    key = Key(id="0" * 10, name="one", roles=frozenset(), hash=bytes(range(32)), made_s=0.0)
    assert "hash" not in repr(key)


def test_two_servers_files_share_no_hash(tmp_path: Path) -> None:
    for name in ("a", "b"):
        KeyFile(tmp_path / name).first()
    first, second = (json.loads((tmp_path / name / "keys.json").read_text())["hashing"] for name in ("a", "b"))
    assert first != second


def test_twelve_commands_at_once_lose_no_key(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from weighbridge.serving.keys import KeyFile\n"
        "for at in range(3): KeyFile(Path(sys.argv[1])).add(f'{sys.argv[2]}-{at}', ['predict'])"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", program, str(tmp_path), str(at)], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})
        for at in range(4)
    ]
    assert [one.wait() for one in started] == [0] * 4
    assert {key.name for key in KeyFile(tmp_path).list()} == {f"{at}-{one}" for at in range(4) for one in range(3)}
