"""A relay before a TCP port or the engine's socket, which a test may cut (reset) or silence (swallow every byte).

with tcp_proxy(port) as relay:              # relay.port on the loopback
with engine_proxy(directory / "s") as relay:  # relay.host: an engine that is away, without stopping the real one
"""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ENGINE = "/var/run/docker.sock"
_CHUNK = 1 << 16
_RESET = struct.pack("ii", 1, 0)


class Relay:
    """Relays bytes, half-closes included; threads, for it may live longer than any event loop of a test."""

    def __init__(self, listener: socket.socket, connect: Callable[[], socket.socket]) -> None:
        self.connections = 0
        """how many have been accepted since the start"""
        self.refused = 0
        """how many were reset at once while it was cut"""
        self.accepted = threading.Event()
        """set at each"""
        self.swallowed = 0
        """bytes that came from either side and went nowhere"""
        self._connect = connect
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._cut = False
        self._silent = False
        self._threads: list[threading.Thread] = []
        self._listener = listener
        self._start(self._accept)

    @property
    def port(self) -> int:
        """The TCP port of the loopback."""
        port: int = self._listener.getsockname()[1]
        return port

    @property
    def host(self) -> str:
        """The address of a Unix socket, for runtime.docker.host."""
        return f"unix://{self._listener.getsockname()}"

    def cut(self) -> None:
        """Reset every connection, and every new one at once."""
        with self._lock:
            self._cut = True
            broken, self._open = self._open, set()
        for each in broken:
            with suppress(OSError):
                each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                each.shutdown(socket.SHUT_RDWR)

    def silence(self) -> None:
        """Keep every connection, accept new ones, and relay nothing from now on."""
        with self._lock:
            self._silent = True

    def restore(self) -> None:
        """Relay again what comes from now on; a connection that lost bytes is reset, for it makes no sense any more."""
        self.cut()
        with self._lock:
            self._cut = self._silent = False

    def close(self) -> None:
        """End all of it."""
        self.cut()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for each in self._threads:
            each.join(10)

    def _start(self, work: object, *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self.connections += 1
                self.accepted.set()
                self.refused += self._cut
                server = None if self._cut else self._connect()
                if server is None:
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                    client.close()
                    continue
                self._open |= {client, server}
            left = threading.Semaphore(1)
            self._start(self._relay, client, server, left)
            self._start(self._relay, server, client, left)

    def _relay(self, source: socket.socket, target: socket.socket, left: threading.Semaphore) -> None:
        with suppress(OSError):
            while data := source.recv(_CHUNK):
                if self._silent:
                    self.swallowed += len(data)
                    continue
                target.sendall(data)
        if not self._silent:
            with suppress(OSError):
                target.shutdown(socket.SHUT_WR)
        if not left.acquire(blocking=False):  # the other direction has ended before
            with self._lock:
                self._open -= {source, target}
            source.close()
            target.close()


@contextmanager
def tcp_proxy(target: int) -> Iterator[Relay]:
    """Relay to a port of the loopback while the block runs."""
    relay = Relay(
        socket.create_server(("127.0.0.1", 0), backlog=64), lambda: socket.create_connection(("127.0.0.1", target))
    )
    try:
        yield relay
    finally:
        relay.close()


@contextmanager
def engine_proxy(path: Path) -> Iterator[Relay]:
    """Relay to the engine from a Unix socket at `path` while the block runs."""

    def connect() -> socket.socket:
        engine = socket.socket(socket.AF_UNIX)
        engine.connect(ENGINE)
        return engine

    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen(256)
    relay = Relay(listener, connect)
    try:
        yield relay
    finally:
        relay.close()
        path.unlink()
