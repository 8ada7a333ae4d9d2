"""The keys and the trail of a server from the command line, as an administrator uses them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from weighbridge.cli.app import app
from weighbridge.cli.keys import seconds
from weighbridge.errors import UsageError
from weighbridge.serving.keys import Key, KeyFile, Keys
from weighbridge.serving.trail import trail_files
from weighbridge.storage.vault_keys import open_vault

KEY = re.compile(r"wb_([0-9a-f]{10})_[A-Za-z0-9_-]{43}")


def weigh(*words: str | Path, code: int = 0) -> str:
    """Return what the command printed on both streams; its exit code must be `code`."""
    result = CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "160", "NO_COLOR": "1"})
    assert result.exit_code == code, result.output
    return result.output


def made(state: Path, *words: str) -> re.Match[str]:
    found = KEY.search(weigh("keys", "add", *words, "--state", state))
    assert found
    return found


def test_a_key_is_made_listed_rotated_and_revoked_and_the_trail_says_so(tmp_path: Path) -> None:
    state, anchors = tmp_path / "serving", tmp_path / "elsewhere" / "anchors"
    assert "no keys" in weigh("keys", "list", "--state", state)
    key = made(
        state, "nightly scores", "--role", "predict", "--role", "label", "--expires", "90d", "--rate", "50", "--rows-per-day", "100000"
    )
    listed = weigh("keys", "list", "--state", state)
    for part in (key[1], "nightly scores", "label, predict", "opens until", "50", "100,000"):
        assert part in listed
    assert key[0] not in listed
    rotated = KEY.search(weigh("keys", "rotate", key[1], "--grace", "0s", "--state", state))
    assert rotated
    keys = Keys(state)
    assert isinstance(keys.check(rotated[0]), Key)
    assert "expired" in str(keys.check(key[0]))
    weigh("keys", "revoke", rotated[1], "--state", state)
    assert "revoked" in str(Keys(state).check(rotated[0]))
    anchor = weigh("trail", "anchor", "--to", anchors, "--state", state).strip()
    assert anchor.startswith("3:")
    told = weigh("trail", "show", "--state", state)
    assert [word in told for word in ("key.made", "key.rotated", "key.revoked", key[1], "terminal")] == [True] * 5
    assert key[0][14:] not in told
    assert rotated[0][14:] not in "".join(path.read_text() for path in state.rglob("*") if path.is_file())
    for given in (anchors, anchor):
        assert "3 lines" in weigh("trail", "verify", "--anchor", given, "--state", state)


def test_a_trail_without_an_anchor_says_what_that_means_and_a_changed_one_is_named(tmp_path: Path) -> None:
    made(tmp_path, "one", "--role", "admin")
    made(tmp_path, "two", "--role", "predict")
    anchor = weigh("trail", "anchor", "--state", tmp_path).strip()
    assert "no anchor covers the lines from 1 on" in weigh("trail", "verify", "--state", tmp_path)
    (path,) = trail_files(tmp_path / "trail")
    content = path.read_text()
    path.write_text(content.replace('"two"', '"owt"'))
    assert "line 2 (trail-000001.jsonl, line 2): it was changed" in weigh("trail", "verify", "--state", tmp_path, code=1)
    path.write_text(content.splitlines(keepends=True)[0])
    assert "the trail was cut" in weigh("trail", "verify", "--anchor", anchor, "--state", tmp_path, code=1)


def test_a_key_is_not_made_where_it_can_not_be_written_down_and_is_revoked_all_the_same(tmp_path: Path) -> None:
    key = made(tmp_path, "one", "--role", "predict")
    (path,) = trail_files(tmp_path / "trail")
    path.write_text("{}\n")
    assert "damaged" in weigh("keys", "add", "two", "--role", "predict", "--state", tmp_path, code=2)
    assert [one.name for one in KeyFile(tmp_path).list()] == ["one"]
    assert "damaged" in weigh("keys", "revoke", key[1], "--state", tmp_path, code=2)
    assert "revoked" in str(Keys(tmp_path).check(key[0]))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("add", "one", "--role", "amdin"), "did you mean 'admin'"),
        (("add", "one", "--role", "admin", "--expires", "soon"), "no time"),
        (("add", "one", "--role", "admin", "--rate", "0"), "rate"),
        (("add", "one", "--role", "admin", "--burst", "3"), "needs a rate"),
        (("revoke", "0123456789"), "no key with the id"),
        (("rotate", "wb_0123456789_" + "A" * 43), "no key with the id"),
        (("rotate", "0123456789", "--grace", "1y"), "no time"),
    ],
)
def test_what_does_not_fit_is_said_in_one_line_and_makes_no_key(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    shown = weigh("keys", *words, "--state", tmp_path, code=2)
    assert said in shown
    assert shown.count("\n") == 1
    assert "A" * 20 not in shown
    assert KeyFile(tmp_path).list() == []


def test_a_key_of_the_vault_is_made_and_rotated(tmp_path: Path) -> None:
    path = tmp_path / "vault.key"
    weigh("keys", "vault", path)
    sealed = open_vault(str(path)).seal(b"39", b"row 7")
    shown = weigh("keys", "vault", path)
    vault = open_vault(str(path))
    assert vault.newest in shown
    assert vault.open(sealed, b"row 7") == b"39"
    assert not any(word in shown for word in path.read_text().split())


@pytest.mark.parametrize(
    ("text", "seconds_"), [("90d", 7_776_000), ("12h", 43_200), ("30m", 1800), ("0s", 0), ("1.5h", 5400), ("2w", 1_209_600)]
)
def test_a_span_of_time_is_read(text: str, seconds_: float) -> None:
    assert seconds(text) == seconds_


@pytest.mark.parametrize("text", ["", "90", "d", "-1d", "1e5d", "1 d", "٣d", "9999999d", "1y"])
def test_what_is_no_span_of_time_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        seconds(text)
