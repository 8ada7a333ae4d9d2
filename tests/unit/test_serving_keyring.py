"""Law: evaluation keys of encrypted rows are kept by their name within a number of bytes, the ones asked for last."""

from __future__ import annotations

from weighbridge.serving.keyring import Keyring


def test_the_keys_that_were_asked_for_longest_ago_go_first() -> None:
    ring = Keyring(10)
    ring.put("a", b"1234")
    ring.put("b", b"1234")
    assert ring.get("a") == b"1234"
    ring.put("c", b"12345")
    assert (ring.get("a"), ring.get("b"), ring.get("c")) == (b"1234", None, b"12345")


def test_the_same_keys_again_take_no_more_room() -> None:
    ring = Keyring(10)
    for _ in range(5):
        ring.put("a", b"123456")
    ring.put("b", b"1234")
    assert ring.get("a") == b"123456"
    assert ring.get("b") == b"1234"


def test_keys_larger_than_the_room_are_not_kept_and_make_no_room_for_others() -> None:
    ring = Keyring(3)
    ring.put("a", b"1234")
    assert ring.get("a") is None
    ring.put("b", b"123")
    assert ring.get("b") == b"123"
