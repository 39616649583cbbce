"""Containers of which the engine does not know that they have processes: it ended while it started them.

An engine makes the process of a container, which waits inside it (`runc init`), tells it to begin, and writes down that
it runs. With live-restore that process outlives an engine that ends in between; the next engine has the container as
`created`, and refuses to start it ("id already in use", moby 20.10, daemon/start.go: containerd has a task of that
name, which it removes only if it has ended). A process that has not begun is ended here, for then the engine starts the
container as if nothing had been. One that has begun must not be run again: it is ended, and the attempt has failed.

Both are preceded by a start that the engine refuses. With it the engine keeps that the container could not be started,
and lets go of the streams that it has opened to the process: else it would log twice what the next one says.
"""

from __future__ import annotations

import asyncio
import signal
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from provider.cloud.runtime.base import FaultKind, RuntimeFault
from provider.cloud.runtime.docker_engine.process_tree import send

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provider.clock import Clock
    from provider.cloud.runtime.docker_engine.cgroups import Cgroups
    from provider.cloud.runtime.docker_engine.engine import Engine
    from provider.model.ids import PodUid

_log = structlog.get_logger(__name__)

_TRIES, _PAUSE = 50, 0.1
_NOTICED_SECONDS = 0.2
"""How long the engine's own parts are given to notice that a process has gone: they look at once, but by themselves."""


class HalfStarted:
    """Looks after containers that the engine has as `created`."""

    def __init__(self, engine: Engine, cgroups: Cgroups, clock: Clock) -> None:
        self._engine = engine
        self._cgroups = cgroups
        self._clock = clock
        self._settling: set[str] = set()

    @contextmanager
    def settling(self, container_id: str) -> Iterator[None]:
        """Mark the time from `before_start` to the start: the engine is made to refuse one, and says so."""
        self._settling.add(container_id)
        try:
            yield
        finally:
            self._settling.discard(container_id)

    def is_settling(self, container_id: str) -> bool:
        """Whether the engine's word that a container could not be started is not to be believed now."""
        return container_id in self._settling

    async def before_start(self, uid: PodUid, container_id: str) -> bool:
        """Let a container that was made before be started once; return whether it has been started here.

        RuntimeFault START when its program has begun; the engine keeps then that it could not be started. UNAVAILABLE.
        """
        found = await self._processes(uid, container_id)
        if not found:
            return False
        begun = not await asyncio.to_thread(lambda: all(waits_to_begin(pid) for pid in found))
        _log.warning("container.half_started", uid=uid, container_id=container_id, begun=begun)
        if begun and not all(send(pid, container_id, signal.SIGSTOP) for pid in found):
            await self.end(uid, container_id)  # the engine would start what has ended by now: run it again
            raise RuntimeFault(FaultKind.START, "its program began while the engine ended, and has ended unseen")
        try:
            await self._engine.start(container_id)
        except RuntimeFault as fault:
            if fault.kind is not FaultKind.START:
                raise
            await self.end(uid, container_id)
            if begun:
                raise
            return False
        if begun:
            raise AssertionError(f"the engine has started container {container_id} over processes {found}")
        return True  # what waited has gone by itself: this was its start

    async def end(self, uid: PodUid, container_id: str) -> None:
        """Kill what is in a container, and wait until it has gone. RuntimeFault REFUSED when it stays."""
        killed: list[int] = []
        for _ in range(_TRIES):
            found = await self._processes(uid, container_id)
            if not found:
                await self._clock.sleep(_NOTICED_SECONDS if killed else 0.0)
                return
            killed = [pid for pid in found if send(pid, container_id)]
            await self._clock.sleep(_PAUSE)
        raise RuntimeFault(FaultKind.REFUSED, f"processes {killed} of container {container_id} outlive SIGKILL")

    async def _processes(self, uid: PodUid, container_id: str) -> list[int]:
        return list(await asyncio.to_thread(self._cgroups.processes, uid, container_id))


def waits_to_begin(pid: int, proc: Path = Path("/proc")) -> bool:
    """Whether this is runc's process that has not become the program yet. Of one that has ended nobody knows."""
    try:
        words = (proc / str(pid) / "cmdline").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return len(words) > 1 and words[0].rpartition(b"/")[2] == b"runc" and words[1] == b"init"
