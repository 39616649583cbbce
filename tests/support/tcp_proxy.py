"""A relay before a TCP port, which a test may cut (reset), or silence: bytes are swallowed, nothing is ever answered."""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_CHUNK = 1 << 16
_RESET = struct.pack("ii", 1, 0)


class TcpProxy:
    """Listens on the loopback, at `port`; threads, because a test's loop may be the one that waits for it."""

    def __init__(self, target: int) -> None:
        self.connections = 0
        """how many have been accepted since the start"""
        self.accepted = threading.Event()
        """set at each"""
        self.swallowed = 0
        """bytes that came from either side and went nowhere"""
        self._target = target
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._cut = False
        self._silent = False
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        self._start(self._accept)

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
                server = None if self._cut else socket.create_connection(("127.0.0.1", self._target))
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
def tcp_proxy(target: int) -> Iterator[TcpProxy]:
    """Relay to a port of the loopback while the block runs."""
    proxy = TcpProxy(target)
    try:
        yield proxy
    finally:
        proxy.close()
