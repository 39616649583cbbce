"""PATCH pods/status: strategic merge with the UID, no GET, coalesced, urgent ones first, bounded in flight.

A status that is not urgent waits a moment: what comes meanwhile replaces it, so that a pod whose containers start soon
costs one write instead of three. Of one pod at most one PATCH is under way; its answer is the newest state of the pod,
which the next decision builds on.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import replace

from provider.kube.client import KubeApi, KubeError
from provider.pods.status_patch import status_patch
from provider.pods.timetable import Timetable

if TYPE_CHECKING:
    from collections.abc import Callable

    from provider.clock import Clock

Json = dict[str, Any]

IN_FLIGHT = 16
SETTLE_SECONDS = 0.5


class Write(Struct, frozen=True):
    """A status to write: of which pod, and whether it goes before the others.

    `annotations` go along with it; what they say already is not sent.
    """

    uid: str
    namespace: str
    name: str
    status: Json
    urgent: bool
    annotations: dict[str, str] = {}


class StatusWriter:
    """One node's status writes; run `run` as a task of a TaskGroup."""

    def __init__(
        self,
        api: KubeApi,
        held: Callable[[str], Json | None],
        done: Callable[[Write, Json | KubeError], None],
        *,
        clock: Clock,
        in_flight: int = IN_FLIGHT,
        settle: float = SETTLE_SECONDS,
    ) -> None:
        """`held` gives a pod's newest raw state by UID, None for one that is gone; `done` takes the PATCH's answer."""
        self._api = api
        self._held = held
        self._done = done
        self._clock = clock
        self._settle = settle
        self._senders = in_flight
        self._pending: dict[str, Write] = {}
        self._in_flight: set[str] = set()
        self._urgent: deque[str] = deque()
        self._ready: deque[str] = deque()
        self._news = asyncio.Event()
        self._settling = Timetable(self._settled, clock)

    def submit(self, write: Write) -> None:
        """Write this status of the pod instead of any that has not been sent yet."""
        before = self._pending.get(write.uid)
        urgent = write.urgent or (before is not None and before.urgent)
        self._pending[write.uid] = replace(write, urgent=urgent)
        if write.uid not in self._in_flight:
            self._queue(write.uid)

    def drop(self, uid: str) -> None:
        """Forget what is to be written of a pod that is gone."""
        self._pending.pop(uid, None)
        self._settling.cancel(uid)

    async def run(self) -> None:
        """Send until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._settling.run())
            for _ in range(self._senders):
                group.create_task(self._send_all())

    def _queue(self, uid: str) -> None:
        if self._pending[uid].urgent:
            self._settling.cancel(uid)
            self._urgent.append(uid)
            self._news.set()
        elif self._settling.due(uid) is None:
            self._settling.set(uid, self._clock.now() + self._settle)

    def _settled(self, uid: str) -> None:
        self._ready.append(uid)
        self._news.set()

    async def _send_all(self) -> None:
        while True:
            uid = await self._next()
            write = self._pending.pop(uid, None)
            if write is None:
                continue  # sent already, by an urgent place in the queue, or dropped
            self._in_flight.add(uid)
            try:
                await self._send(write)
            finally:
                self._in_flight.discard(uid)
            if uid in self._pending:
                self._queue(uid)

    async def _next(self) -> str:
        while True:
            for queue in (self._urgent, self._ready):
                while queue:
                    uid = queue.popleft()
                    if uid not in self._in_flight:
                        return uid
            self._news.clear()
            await self._news.wait()

    async def _send(self, write: Write) -> None:
        pod = self._held(write.uid)
        if pod is None:
            return
        patch = status_patch(pod.get("status") or {}, write.status)
        held = pod["metadata"].get("annotations") or {}
        news = {key: value for key, value in write.annotations.items() if held.get(key) != value}
        if patch is None and not news:
            self._done(write, pod)
            return
        # A node may change annotations through the status, not labels (plugin/pkg/admission/noderestriction).
        metadata = {"uid": write.uid, **({"annotations": news} if news else {})}
        path = f"/api/v1/namespaces/{write.namespace}/pods/{write.name}/status"
        try:
            answer: Json | KubeError = await self._api.patch(
                path, {"metadata": metadata, "status": patch or {}}, "strategic"
            )
        except KubeError as error:
            answer = error
        self._done(write, answer)
