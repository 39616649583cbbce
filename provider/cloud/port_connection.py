"""A connection to a port inside an instance, on a socket of this process (ElasticBackend.forward)."""

from __future__ import annotations

import asyncio
import os
import socket
from typing import TYPE_CHECKING, Final

from provider.cloud.refusals import as_cloud_errors
from provider.model.errors import CloudCode, CloudError

if TYPE_CHECKING:
    from provider.cloud.runtime.base import ContainerRuntime
    from provider.model.ids import PodUid

CONNECT_SECONDS: Final = 30.0
_PIECE: Final = 1 << 16
_PORTS: Final = range(1, 1 << 16)


async def open_connection(runtime: ContainerRuntime, uid: PodUid, port: int) -> SocketConnection:
    """Connect; CloudError as ElasticBackend.forward says."""
    if port not in _PORTS:
        raise CloudError(CloudCode.INVALID_PARAMETER, f"port {port} is not 1 to 65535")
    with as_cloud_errors():
        try:
            return SocketConnection(await runtime.connect_inside(uid, port, CONNECT_SECONDS))
        except TimeoutError as error:
            text = f"failed to connect to localhost:{port} inside the instance: no answer in {CONNECT_SECONDS:g} s"
            raise CloudError(CloudCode.INCORRECT_STATUS, text) from error
        except OSError as error:
            why = os.strerror(error.errno).lower() if error.errno else str(error)  # asyncio's words are its own
            text = f"failed to connect to localhost:{port} inside the instance: {why}"
            raise CloudError(CloudCode.INCORRECT_STATUS, text) from error


class SocketConnection:
    """PortConnection of a connected, non-blocking socket, which it owns."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._writable = True

    async def read(self) -> bytes:
        """See PortConnection; a reset is an end."""
        try:
            return await asyncio.get_running_loop().sock_recv(self._socket, _PIECE)
        except ConnectionError:
            return b""

    async def write(self, data: bytes) -> None:
        """See PortConnection."""
        if not self._writable:
            return
        try:
            await asyncio.get_running_loop().sock_sendall(self._socket, data)
        except ConnectionError:
            self._writable = False

    async def end(self) -> None:
        """See PortConnection."""
        self._writable = False
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            return  # the other side has reset the connection

    async def close(self) -> None:
        """See PortConnection. Whoever reads or writes has to be cancelled before."""
        self._writable = False
        self._socket.close()
