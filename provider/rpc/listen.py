"""Bind a gRPC server to a Unix socket or a TCP port, without a moment in which others could use it.

gRPC makes a Unix socket with the umask of the process and takes over any path it is given. So the socket is made in a
new directory that only its owner can enter, gets its mode, and is then moved to its place: from the first moment that
it has its name it is private, and a socket that a dead process left is replaced in one step. One that is alive is not.
"""

from __future__ import annotations

import socket
import stat
import tempfile
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from provider.rpc.options import UNIX, AddressError, ListenError, check_tcp, socket_path

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import grpc

    from provider.rpc.options import TlsFiles

_SOCKET_MODE: Final = 0o600


@asynccontextmanager
async def listen(server: grpc.aio.Server, address: str, tls: TlsFiles | None) -> AsyncIterator[str]:
    """Bind and start the server; yields the address in use. The socket's file is removed at the end."""
    path = socket_path(address)
    if path is None:
        check_tcp(address, tls)
        port = _bind(server, address, address, tls)
        await server.start()
        yield f"{address.rpartition(':')[0]}:{port}"
        return
    try:
        _check_free(path)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".", dir=path.parent) as directory:
            made = Path(directory) / "s"
            socket_path(f"{UNIX}{made}")
            _bind(server, f"{UNIX}{made}", address, None)
            made.chmod(_SOCKET_MODE)
            made.rename(path)
    except AddressError:
        raise
    except OSError as error:
        raise ListenError(f"cannot listen on {address}: {error.strerror}") from error
    inode = path.stat().st_ino
    try:
        await server.start()
        yield address
    finally:
        if path.exists() and path.stat().st_ino == inode:  # not another server's, that came after us
            path.unlink()


def _bind(server: grpc.aio.Server, target: str, address: str, tls: TlsFiles | None) -> int:
    """Return the port; `address` is what the caller asked for, for the text of the error."""
    try:
        port: int = server.add_secure_port(target, tls.server()) if tls else server.add_insecure_port(target)
    except RuntimeError as error:
        text = f"cannot listen on {address}: {error}"
        raise ListenError(f"{text}; is it in use (ss -lntp shows by whom), or no address of this machine?") from error
    return port


def _check_free(path: Path) -> None:
    """Raise AddressError for a path where something answers, or that is no socket."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise AddressError(f"cannot listen on {path}: there is a file that is no socket; move it away")
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return  # left by a process that is dead
        except FileNotFoundError:
            return
    raise ListenError(f"cannot listen on {path}: another process answers there; stop it first, or use another path")
