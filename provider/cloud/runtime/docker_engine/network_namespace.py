"""Sockets inside another network namespace, made by this process without being in it.

setns(2) moves one thread; a socket belongs to the namespace of the thread that made it, for as long as it lives. Each
call uses a thread of its own that ends with the call, so no other work ever runs in the foreign namespace. Such a
thread lives for some 100 microseconds, for it never waits: a connection is made from outside, on the socket.
Needs CAP_SYS_ADMIN, and the engine's processes in this process's /proc.
"""

from __future__ import annotations

import asyncio
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


def namespace_number(pid: int) -> int | None:
    """Return the number (inode) of the network namespace of `pid`; None when this process cannot see it."""
    try:
        return _path(pid).stat().st_ino
    except OSError:
        return None


def listening_socket(pid: int, host: str, port: int, number: int | None = None) -> socket.socket:
    """Return a non-blocking listening TCP socket in the network namespace of process `pid`. OSError as bind(2).

    With `number` the namespace must be that one (pids are used again): ProcessLookupError, or FileNotFoundError when
    there is no such process.
    """

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

    return _inside(pid, number, make)


async def connected_socket(pid: int, host: str, port: int, seconds: float, number: int | None = None) -> socket.socket:
    """Return a non-blocking TCP socket from the namespace of `pid` to host:port, `host` an IP address.

    OSError as connect(2), TimeoutError after `seconds`; `number` as for `listening_socket`.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = _inside(pid, number, lambda: socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK))
    try:
        async with asyncio.timeout(seconds):
            await asyncio.get_running_loop().sock_connect(made, (host, port))
    except BaseException:
        made.close()
        raise
    return made


def _inside(pid: int, number: int | None, make: Callable[[], socket.socket]) -> socket.socket:
    result: Future[socket.socket] = Future()

    def run() -> None:
        try:
            _enter(_path(pid), number)
            result.set_result(make())
        except BaseException as error:  # noqa: BLE001 - handed to the caller, who raises it
            result.set_exception(error)

    thread = threading.Thread(target=run, name=f"netns-{pid}")
    thread.start()
    thread.join()
    return result.result()


def _path(pid: int) -> Path:
    return Path(f"/proc/{pid}/ns/net")


def _enter(path: Path, number: int | None) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    with path.open("rb") as namespace:
        if number is not None and os.fstat(namespace.fileno()).st_ino != number:
            raise ProcessLookupError(f"{path} is another namespace by now")
        if libc.setns(namespace.fileno(), _CLONE_NEWNET) != 0:
            code = ctypes.get_errno()
            raise OSError(code, f"setns: {os.strerror(code)}", str(path))
