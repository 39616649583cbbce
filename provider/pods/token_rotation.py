"""Replace bound service-account tokens in running pods before they expire (pkg/kubelet/token, v1.37).

A token is due after 80 % of its life, at the latest after a day. The whole volume is filled anew and replaced at once,
as the kubelet does. A failure leaves the old token, which still is valid, and is tried again a minute later.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from provider.kube.client import KubeApi, KubeError
from provider.model.errors import CloudError, Rejection
from provider.model.instance import TERMINAL, FilesVolume
from provider.pods.references import fetch, names_of_volumes, refresh_at, volumes_with_tokens
from provider.pods.timetable import Timetable
from provider.translate.volumes import volume

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random  # noqa: TID251 (the type; the value is injected)

    from provider.clock import Clock
    from provider.cloud.backend import ElasticBackend
    from provider.model.pod import Pod, VolumeEntry
    from provider.pods.record import PodRecord
    from provider.translate.references import References

log = structlog.get_logger(__name__)

RETRY_SECONDS = 60.0
AT_A_TIME = 4
CATCH_UP_SECONDS = 60.0
"""After a restart, overdue tokens are replaced over this long instead of all at once."""


class TokenRotation:
    """The tokens of one node's pods; run `run` as a task of a TaskGroup."""

    def __init__(
        self,
        record: Callable[[str], PodRecord | None],
        facts: Callable[[], References],
        api: KubeApi,
        backend: ElasticBackend,
        *,
        clock: Clock,
        random: Random,
    ) -> None:
        """`record` finds a pod by UID, `facts` are those of its node."""
        self._record = record
        self._facts = facts
        self._api = api
        self._backend = backend
        self._clock = clock
        self._random = random
        self._queue: asyncio.Queue[str] = asyncio.Queue()
        self._times = Timetable(self._queue.put_nowait, clock)

    def follow(self, uid: str, at: float | None) -> None:
        """Replace the pod's tokens at `at`; None: it has none."""
        if at is not None:
            self._times.set(uid, at)

    def follow_unknown(self, uid: str, pod: Pod, created_at: float) -> None:
        """Take over a pod of an earlier life of this process: its tokens are at least as young as its instance."""
        seconds = [lasting for _, lasting in names_of_volumes(volumes_with_tokens(pod)).tokens]
        if not seconds or self._times.due(uid) is not None:
            return
        shortest = min(seconds)
        due = refresh_at(created_at + shortest, shortest, 0.0)
        soonest = self._clock.now() + self._random.uniform(0, CATCH_UP_SECONDS)
        self._times.set(uid, max(due, soonest))

    def drop(self, uid: str) -> None:
        """Forget a pod that has ended."""
        self._times.cancel(uid)

    async def run(self) -> None:
        """Replace what is due until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._times.run())
            for _ in range(AT_A_TIME):
                group.create_task(self._replace_all())

    async def _replace_all(self) -> None:
        while True:
            uid = await self._queue.get()
            record = self._record(uid)
            if record is None or record.absent or record.instance is None or record.instance.phase in TERMINAL:
                continue
            pod = record.pod
            if pod is None:
                continue
            try:
                self.follow(uid, await self._replace(record, pod, volumes_with_tokens(pod)))
            except (KubeError, CloudError, Rejection) as error:
                log.warning("token.not_replaced", uid=uid, error=str(error), retry_seconds=RETRY_SECONDS)
                self.follow(uid, self._clock.now() + RETRY_SECONDS)

    async def _replace(self, record: PodRecord, pod: Pod, entries: list[VolumeEntry]) -> float | None:
        fetched = await fetch(pod, names_of_volumes(entries), self._api, self._facts(), self._random)
        for entry in entries:
            filled = volume(pod, entry, fetched.references, f"spec.volumes({entry.name})")
            if isinstance(filled, FilesVolume):
                await self._backend.update_files(record.uid, filled.name, filled.files)
        log.info("token.replaced", uid=record.uid, pod=f"{pod.metadata.namespace}/{pod.metadata.name}")
        return fetched.refresh_at
