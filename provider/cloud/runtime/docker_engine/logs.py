"""A container's output, as the kubelet gives it (k8s.io/cri-client/pkg/logs), from the Engine API.

Each message of the engine's log is a line, or a piece of one above 16 KiB. With timestamps the engine begins every
message with the time; the kubelet begins only lines with it, so the ones in the middle of a line are left out. `tail`
counts messages, here and there. Without a terminal the messages come in frames (8 bytes: stream, 0, 0, 0, length);
with one the bytes come as they are, and a piece of a long line is known by its length.
"""

from __future__ import annotations

import re
from contextlib import aclosing, contextmanager
from typing import TYPE_CHECKING

import msgspec
from aiodocker.exceptions import DockerError

from provider.cloud.runtime.base import FaultKind
from provider.cloud.runtime.docker_engine.client import stream
from provider.cloud.runtime.docker_engine.engine import faults

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator, Mapping

    from aiodocker import Docker

    from provider.cloud.backend import LogOptions

_REMOVED = frozenset({404, 409})
"""There is no such container; it is dead or marked for removal."""
_CHUNK = 64 * 1024
_HEADER = 8
_PIECE = 16 * 1024
"""How much of a line without an end the engine takes as one message (moby daemon/logger/copier.go)."""
_STAMP = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z ")
_STAMP_LENGTH = 31
_LAST = _STAMP_LENGTH + _PIECE
"""The longest message: as much of what was sent is remembered."""


async def read_logs(client: Docker, container: str, options: LogOptions, *, tty: bool) -> AsyncGenerator[bytes, None]:
    """Yield the output of a container; nothing once it is being removed. RuntimeFault REFUSED, UNAVAILABLE.

    A last line without an end comes to the engine's log when the container has ended, and Docker 20.10 ends a follow
    without it; so it is asked for once more. With `tail` 0 it is not: it may be older than the follow.
    """
    left = options.limit_bytes
    sent = b""
    async with aclosing(_read(client, container, options, tty=tty)) as pieces:
        async for data in pieces:
            if left is not None:
                if left < len(data):
                    yield data[:left]
                    return
                left -= len(data)
            sent = (sent + data)[-_LAST:]
            yield data
            if left == 0:
                return
    if options.follow and options.tail != 0 and left != 0:
        last = msgspec.structs.replace(options, follow=False, tail=1)
        data = b"".join([piece async for piece in _read(client, container, last, tty=tty)])
        if data and not data.endswith(b"\n") and not sent.endswith(data):
            yield data[:left]


async def _read(client: Docker, container: str, options: LogOptions, *, tty: bool) -> AsyncGenerator[bytes, None]:
    """Yield one answer of the engine; `limit_bytes` 0 needs none."""
    if options.limit_bytes == 0:
        return
    cut: Frames | Terminal = Terminal(timestamps=options.timestamps) if tty else Frames(timestamps=options.timestamps)
    with faults(FaultKind.REFUSED), _removed_says_nothing():
        async with stream(client, "GET", f"containers/{container}/logs", _parameters(options)) as response:
            async for chunk in response.content.iter_chunked(_CHUNK):
                if data := b"".join(cut.feed(chunk)):
                    yield data
            if data := b"".join(cut.end()):
                yield data


@contextmanager
def _removed_says_nothing() -> Iterator[None]:
    try:
        yield
    except DockerError as error:
        if error.status not in _REMOVED:
            raise


def _parameters(options: LogOptions) -> Mapping[str, str]:
    asked = {
        "stdout": "1",
        "stderr": "1",
        "follow": str(int(options.follow)),
        "timestamps": str(int(options.timestamps)),
    }
    if options.tail is not None:
        asked["tail"] = str(options.tail)
    if options.since is not None:
        asked["since"] = f"{options.since:.9f}"
    return asked


class Frames:
    """Takes the engine's frames apart."""

    def __init__(self, *, timestamps: bool) -> None:
        self._timestamps = timestamps
        self._rest = bytearray()
        self._in_line = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the output in these bytes and those kept from before."""
        rest = self._rest
        rest += data
        start = 0
        while len(rest) - start >= _HEADER:
            length = int.from_bytes(rest[start + 4 : start + _HEADER], "big")
            end = start + _HEADER + length
            if len(rest) < end:
                break
            yield self._message(bytes(rest[start + _HEADER : end]))
            start = end
        del rest[:start]

    def end(self) -> Iterator[bytes]:
        """Yield nothing: what is left is not a whole frame, so the engine has not said all of it."""
        yield from ()

    def _message(self, message: bytes) -> bytes:
        if self._timestamps and self._in_line and _STAMP.match(message):
            message = message[_STAMP_LENGTH:]
        self._in_line = not message.endswith(b"\n")
        return message


class Terminal:
    """Takes the output of a terminal: only with timestamps is there anything to leave out."""

    def __init__(self, *, timestamps: bool) -> None:
        self._timestamps = timestamps
        self._rest = b""
        self._in_line = False
        self._left = 0
        """bytes of the message at hand that may still come; 0: a message begins."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the output in these bytes and those kept from before."""
        if not self._timestamps:
            yield data
            return
        data = self._rest + data
        while data:
            if not self._left:
                if len(data) < _STAMP_LENGTH:
                    break
                if _STAMP.match(data):
                    stamp, data = data[:_STAMP_LENGTH], data[_STAMP_LENGTH:]
                    if not self._in_line:
                        yield stamp
                self._left = _PIECE
                continue
            newline = data.find(b"\n", 0, self._left)
            end = min(len(data), self._left) if newline < 0 else newline + 1
            self._in_line = newline < 0
            self._left = self._left - end if newline < 0 else 0
            yield data[:end]
            data = data[end:]
        self._rest = data

    def end(self) -> Iterator[bytes]:
        """Yield what was kept back, in case it was the beginning of a time."""
        yield self._rest
        self._rest = b""
