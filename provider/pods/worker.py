"""At most one task per pod, which ends as soon as there is nothing more to do for it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

log = structlog.get_logger(__name__)

ROUNDS = 50
"""Looks in a row without a pause; more means that a plan does not settle, which is a bug."""


class UnsettledError(Exception):
    """A plan that asks for more each time it has been carried out."""


class Workers:
    """Tasks by pod UID: `work(uid)` looks once, and says whether it has to look again at once."""

    def __init__(self, work: Callable[[str], Awaitable[bool]], crashed: Callable[[str, Exception], None]) -> None:
        """`crashed` is told of an exception that `work` let pass: a bug, whose pod is to be looked at again later."""
        self._work = work
        self._crashed = crashed
        self._running: set[str] = set()
        self._again: dict[str, None] = {}
        self._group: asyncio.TaskGroup | None = None

    def __len__(self) -> int:
        return len(self._running)

    def trigger(self, uid: str) -> None:
        """Look at the pod now, or once more when its task is at work; before `run` it waits for that."""
        if uid in self._running or self._group is None:
            self._again[uid] = None
        else:
            self._start(uid, self._group)

    async def run(self) -> None:
        """Run tasks until cancelled."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            try:
                for uid in list(self._again):
                    del self._again[uid]
                    self._start(uid, group)
                # The group itself waits for its tasks only; stay for those that are to come.
                await asyncio.get_running_loop().create_future()
            finally:
                self._group = None

    def _start(self, uid: str, group: asyncio.TaskGroup) -> None:
        self._running.add(uid)
        group.create_task(self._loop(uid))

    async def _loop(self, uid: str) -> None:
        try:
            for _ in range(ROUNDS):
                self._again.pop(uid, None)
                more = await self._work(uid)
                if not more and uid not in self._again:
                    return
            raise UnsettledError(f"pod {uid}: {ROUNDS} plans in a row did not settle")  # noqa: TRY301 - as any other bug
        except Exception as error:  # one pod's bug must not take the others along
            log.exception("pod.crashed", uid=uid)
            self._crashed(uid, error)
        finally:
            self._running.discard(uid)
            self._again.pop(uid, None)
