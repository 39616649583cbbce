"""The engine's log stream taken apart, however it is cut."""

import pytest

from provider.cloud.runtime.docker_engine.logs import Frames, Terminal

STAMP = b"2026-11-24T04:00:00.123456789Z "
LATER = b"2026-11-24T04:00:01.000000000Z "


def frame(stream: int, data: bytes) -> bytes:
    return bytes([stream, 0, 0, 0]) + len(data).to_bytes(4, "big") + data


def taken(cut: Frames | Terminal, data: bytes, size: int) -> bytes:
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    return b"".join([part for piece in pieces for part in cut.feed(piece)] + list(cut.end()))


@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_frames(size: int) -> None:
    data = frame(1, b"a\n") + frame(2, b"") + frame(2, b"b") + frame(1, b"\xff\n")
    assert taken(Frames(timestamps=False), data, size) == b"a\nb\xff\n"


@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_only_lines_begin_with_the_time(size: int) -> None:
    data = frame(1, STAMP + b"x" * 100) + frame(1, LATER + b"y\n") + frame(2, LATER + b"z\n") + frame(1, LATER + b"end")
    expected = STAMP + b"x" * 100 + b"y\n" + LATER + b"z\n" + LATER + b"end"
    assert taken(Frames(timestamps=True), data, size) == expected


def test_a_frame_that_never_ends_says_nothing() -> None:
    assert taken(Frames(timestamps=False), frame(1, b"a\n") + frame(1, b"cut off")[:-1], 5) == b"a\n"


@pytest.mark.parametrize("size", [1, 31, 100_000])
def test_a_terminal_with_times(size: int) -> None:
    piece = b"x" * 16384
    data = STAMP + b"one\r\n" + STAMP + piece + LATER + b"rest\r\n" + LATER + b"$ "
    expected = STAMP + b"one\r\n" + STAMP + piece + b"rest\r\n" + LATER + b"$ "
    assert taken(Terminal(timestamps=True), data, size) == expected


def test_a_terminal_without_times_is_left_as_it_is() -> None:
    assert taken(Terminal(timestamps=False), b"a" * 20_000 + b"\r\n", 333) == b"a" * 20_000 + b"\r\n"
