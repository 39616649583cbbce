"""A relay before the engine's socket, which a test may cut: an engine that is away, without stopping the real one."""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ENGINE = "/var/run/docker.sock"
_CHUNK = 1 << 16
_RESET = struct.pack("ii", 1, 0)


class EngineProxy:
    """Relays bytes, half-closes included; threads, because it has to live longer than any event loop of a test."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.connections = 0
        """how many have been accepted since the start"""
        self.refused = 0
        """how many were closed at once while it was cut"""
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._cut = False
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(256)
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def host(self) -> str:
        """The address for runtime.docker.host."""
        return f"unix://{self.path}"

    def cut(self) -> None:
        """Reset every connection, and accept no more."""
        with self._lock:
            self._cut = True
            broken, self._open = self._open, set()
        for each in broken:
            with suppress(OSError):
                each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                each.shutdown(socket.SHUT_RDWR)

    def restore(self) -> None:
        """Relay again."""
        with self._lock:
            self._cut = False

    def close(self) -> None:
        """End all of it."""
        self.cut()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.path.unlink()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            engine = socket.socket(socket.AF_UNIX)
            with self._lock:
                self.connections += 1
                self.refused += self._cut
                if self._cut:
                    client.close()
                    engine.close()
                    continue
                engine.connect(ENGINE)
                self._open |= {client, engine}
            left = threading.Semaphore(1)
            for source, target in ((client, engine), (engine, client)):
                threading.Thread(target=self._relay, args=(source, target, left), daemon=True).start()

    def _relay(self, source: socket.socket, target: socket.socket, left: threading.Semaphore) -> None:
        with suppress(OSError):
            while data := source.recv(_CHUNK):
                target.sendall(data)
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)
        if not left.acquire(blocking=False):  # the other direction has ended before
            with self._lock:
                self._open -= {source, target}
            source.close()
            target.close()


@contextmanager
def engine_proxy(path: Path) -> Iterator[EngineProxy]:
    """Relay while the block runs."""
    proxy = EngineProxy(path)
    try:
        yield proxy
    finally:
        proxy.close()
