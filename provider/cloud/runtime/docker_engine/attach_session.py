"""The streams of a container's own first process, over the engine's attach; leaving them leaves the container alone."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from aiodocker.exceptions import DockerError

from provider.cloud.runtime.base import FaultKind, RuntimeFault
from provider.cloud.runtime.docker_engine.engine import CONFLICT, NOT_FOUND, faults
from provider.cloud.runtime.docker_engine.engine_stream import DETACH_KEYS, EngineStream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from aiodocker.containers import DockerContainer

    from provider.cloud.backend import AttachRequest
    from provider.cloud.runtime.docker_engine.engine import Engine


async def start_attach(engine: Engine, name: str, request: AttachRequest) -> DockerAttach:
    """Attach to a container by its name. RuntimeFault START when it does not run."""
    inspected = await engine.inspect(name)
    if inspected is None or not inspected["State"]["Running"]:
        raise RuntimeFault(FaultKind.START, f"container {request.container} is not running")
    container = engine.client.containers.container(str(inspected["Id"]))
    with faults(FaultKind.START):
        opened = EngineStream(
            container.attach(
                stdin=request.stdin and bool(inspected["Config"]["OpenStdin"]),
                stdout=request.stdout,
                stderr=request.stderr,
                detach_keys=DETACH_KEYS,
            )
        )
        await opened.open()
    return DockerAttach(container, opened, inspected["Config"], stdin=request.stdin)


class DockerAttach:
    """One attachment; see ElasticBackend.attach."""

    def __init__(
        self, container: DockerContainer, opened: EngineStream, config: Mapping[str, Any], *, stdin: bool
    ) -> None:
        self._container = container
        self._stream = opened
        self._tty = bool(config["Tty"])
        self._stdin = stdin and bool(config["OpenStdin"])
        self._once = bool(config["StdinOnce"])
        self._ended = asyncio.Event()

    async def output(self) -> AsyncIterator[tuple[int, bytes]]:
        """See ExecSession."""
        async for piece in self._stream.output():
            yield piece
        self._ended.set()

    async def write(self, data: bytes) -> None:
        """See ExecSession."""
        if self._stdin:
            await self._stream.write(data)

    async def close_stdin(self) -> None:
        """See ExecSession; only a container with stdinOnce sees the end, others keep their input for the next."""
        if self._stdin and self._once:
            self._stream.end_input()

    async def resize(self, width: int, height: int) -> None:
        """See ExecSession; a container that has just ended has no terminal any more."""
        if not self._tty or self._ended.is_set():
            return
        with faults(FaultKind.REFUSED):
            try:
                await self._container.resize(w=width, h=height)
            except DockerError as error:
                if error.status not in {CONFLICT, NOT_FOUND}:
                    raise

    async def wait(self) -> int:
        """See ElasticBackend.attach."""
        await self._ended.wait()
        return 0

    async def close(self) -> None:
        """See ElasticBackend.attach."""
        if not self._stream.closed:
            await self._stream.close()
