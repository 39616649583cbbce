"""Sockets inside another network namespace, made by this process without being in it.

setns(2) moves one thread; a socket belongs to the namespace of the thread that made it, for as long as it lives. Each
call uses a thread of its own that ends with the call, so no other work ever runs in the foreign namespace.
Needs CAP_SYS_ADMIN.
"""

from __future__ import annotations

import ctypes
import os
import socket
import threading
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_CLONE_NEWNET = 0x40000000
_BACKLOG = 512


def listening_socket(pid: int, host: str, port: int) -> socket.socket:
    """Return a non-blocking listening TCP socket in the network namespace of process `pid`. OSError as bind(2)."""

    def make() -> socket.socket:
        made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind((host, port))
            made.listen(_BACKLOG)
            made.setblocking(False)
        except OSError:
            made.close()
            raise
        return made

    return _inside(pid, make)


def connected_socket(pid: int, host: str, port: int, seconds: float) -> socket.socket:
    """Return a non-blocking TCP socket from the namespace of `pid` to host:port. OSError, TimeoutError. Blocks."""

    def make() -> socket.socket:
        made = socket.create_connection((host, port), timeout=seconds)
        made.setblocking(False)
        return made

    return _inside(pid, make)


def _inside(pid: int, make: Callable[[], socket.socket]) -> socket.socket:
    result: Future[socket.socket] = Future()

    def run() -> None:
        try:
            _enter(Path(f"/proc/{pid}/ns/net"))
            result.set_result(make())
        except BaseException as error:  # noqa: BLE001 - handed to the caller, who raises it
            result.set_exception(error)

    thread = threading.Thread(target=run, name=f"netns-{pid}")
    thread.start()
    thread.join()
    return result.result()


def _enter(path: Path) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    with path.open("rb") as namespace:
        if libc.setns(namespace.fileno(), _CLONE_NEWNET) != 0:
            number = ctypes.get_errno()
            raise OSError(number, f"setns: {os.strerror(number)}", str(path))
