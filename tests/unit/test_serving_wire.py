"""Law: a frame comes out as it went in, however the stream was cut; what is no frame, or too large, is refused before it is held."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weighbridge.serving import wire
from weighbridge.serving.wire import HEADER, Frames, Kind, WireError, frame

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(), lambda inner: st.lists(inner, max_size=4), max_leaves=8
)
FRAMES = st.lists(
    st.tuples(st.sampled_from(Kind), st.integers(0, 2**32 - 1), JSON, st.lists(st.binary(max_size=40), max_size=3)), max_size=5
)


@given(FRAMES, st.integers(1, 50))
def test_frames_come_out_as_they_went_in_however_the_stream_is_cut(told: list[tuple[Kind, int, object, list[bytes]]], piece: int) -> None:
    stream = b"".join(frame(kind, number, head, bodies) for kind, number, head, bodies in told)
    frames = Frames()
    found = [one for start in range(0, len(stream), piece) for one in frames.feed(stream[start : start + piece])]
    assert found == [(kind, number, head, b"".join(bodies)) for kind, number, head, bodies in told]


@given(st.binary(min_size=HEADER.size, max_size=60))
def test_other_bytes_are_no_frames(noise: bytes) -> None:
    if noise[:2] == wire.MAGIC:
        return
    with pytest.raises(WireError):
        list(Frames().feed(noise))


@pytest.mark.parametrize(
    "header",
    [
        (b"WB", 99, 0, 0, 0),
        (b"WB", Kind.WORK, 0, wire.MOST_HEAD + 1, 0),
        (b"WB", Kind.WORK, 0, 0, wire.MOST_BODY + 1),
        (b"wb", Kind.WORK, 0, 0, 0),
    ],
)
def test_a_header_beyond_the_limits_is_refused_before_anything_more_is_read(header: tuple[bytes, int, int, int, int]) -> None:
    with pytest.raises(WireError):
        list(Frames().feed(HEADER.pack(*header)))


def test_a_head_at_the_limit_is_sent_and_one_byte_more_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "MOST_HEAD", 10)
    monkeypatch.setattr(wire, "MOST_BODY", 3)
    assert list(Frames().feed(frame(Kind.WORK, 1, "12345678", [b"ab", b"c"]))) == [(Kind.WORK, 1, "12345678", b"abc")]
    for head, bodies in (("123456789", []), ("", [b"ab", b"cd"])):
        with pytest.raises(WireError):
            frame(Kind.WORK, 1, head, bodies)


def test_a_head_that_is_not_json_is_refused() -> None:
    with pytest.raises(WireError, match="not JSON"):
        list(Frames().feed(HEADER.pack(wire.MAGIC, Kind.WORK, 0, 3, 0) + b"{,}"))
