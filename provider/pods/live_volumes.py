"""Volumes of running pods that show something of the cluster, filled anew when it changes.

    an object has changed (object_watches)      every volume that names it
    the pod's labels or annotations             its downwardAPI volumes
    a token is due (pkg/kubelet/token, v1.37)   its volumes with tokens: after 80 % of its life, a day at the latest

A volume is replaced as a whole and at once (ElasticBackend.update_files). What cannot be filled keeps its old content,
as with the kubelet: the reason is told as an event, and it is tried again later, or when the object changes. Objects
are watched only for pods that last: a step of a workflow is over before a change could reach it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import structlog

from provider.kube.client import KubeApi, KubeError
from provider.model.errors import CloudError, Rejection
from provider.model.ids import PodUid
from provider.model.instance import TERMINAL
from provider.model.volume import FilesVolume
from provider.pods.object_watches import ObjectKey, ObjectWatches
from provider.pods.references import fetch, names_of_volumes, volumes_with_tokens
from provider.pods.timetable import Timetable
from provider.pods.worker import Workers
from provider.translate.volumes import mounted_volumes, shows_metadata, volume

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from random import Random  # noqa: TID251 (the type; the value is injected)

    from provider.clock import Clock
    from provider.cloud.backend import ElasticBackend
    from provider.model.pod import Pod
    from provider.model.pod_volumes import VolumeEntry
    from provider.pods.record import PodRecord
    from provider.pods.references import Fetched
    from provider.translate.references import References

Json = dict[str, Any]
log = structlog.get_logger(__name__)

RETRY_SECONDS = 60.0
AT_A_TIME = 4
CATCH_UP_SECONDS = 60.0
"""After a restart, the volumes of all pods are looked at over this long instead of all at once."""
LASTING_SECONDS = 3.0
"""How long a pod is there before its objects are watched."""


class _Followed:
    """One pod: the versions of the objects that its files were made from, and the volumes to be filled anew."""

    def __init__(self, versions: dict[ObjectKey, str]) -> None:
        self.versions = versions
        self.stale: dict[str, None] = {}


class LiveVolumes:
    """The volumes of one node's pods; run `run` as a task of a TaskGroup."""

    def __init__(
        self,
        record: Callable[[str], PodRecord | None],
        facts: Callable[[], References],
        api: KubeApi,
        backend: ElasticBackend,
        tell: Callable[[Json, str, str], None],
        *,
        clock: Clock,
        random: Random,
    ) -> None:
        """`record` finds a pod by UID, `facts` are those of its node, `tell` takes (pod, reason, message) of events."""
        self._record = record
        self._facts = facts
        self._api = api
        self._backend = backend
        self._tell = tell
        self._clock = clock
        self._random = random
        self._followed: dict[str, _Followed] = {}
        self._turns = asyncio.Semaphore(AT_A_TIME)
        self._objects = ObjectWatches(api, self._object_changed, clock=clock, random=random)
        self._workers = Workers(self._work, self._crashed)
        self._begin = Timetable(self._watch, clock)
        self._tokens = Timetable(self._tokens_due, clock)
        self._retry = Timetable(self._workers.trigger, clock)

    # ------------------------------------------------------------------ which pods

    def follow(self, uid: str, pod: Pod, fetched: Fetched) -> None:
        """Follow a pod that was made from `fetched` just now."""
        self._followed[uid] = _Followed(_keyed(pod, fetched))
        if not _live(pod):
            return
        self._begin.set(uid, self._clock.now() + LASTING_SECONDS)
        if fetched.refresh_at is not None:
            self._tokens.set(uid, fetched.refresh_at)

    def follow_unknown(self, uid: str, pod: Pod) -> None:
        """Take over a pod whose volumes show what is not known; one that is followed already stays as it is.

        It was made in an earlier life of this process, or the answer to its creation was lost.
        """
        if uid in self._followed:
            return
        self._followed[uid] = one = _Followed({})
        live = _live(pod)
        if not live:
            return
        # The others are filled when their objects' versions have been seen.
        one.stale = dict.fromkeys(entry.name for entry in live if not _keys(pod, [entry]))
        self._begin.set(uid, self._clock.now() + self._random.uniform(0, CATCH_UP_SECONDS))

    def pod_changed(self, uid: str, old: Json, new: Json) -> None:
        """Take the change of a pod, which the record has by now."""
        one, pod = self._followed.get(uid), self._pod(uid)
        if one is None or pod is None:
            return
        before, after = old["metadata"], new["metadata"]
        if any((before.get(key) or {}) != (after.get(key) or {}) for key in ("labels", "annotations")):
            self._mark(uid, one, [entry for entry in _live(pod) if shows_metadata(entry)])

    def drop(self, uid: str) -> None:
        """Forget a pod that has ended."""
        if self._followed.pop(uid, None) is not None:
            for times in (self._begin, self._tokens, self._retry):
                times.cancel(uid)
            self._objects.drop(uid)

    async def run(self) -> None:
        """Keep the volumes new until cancelled."""
        async with asyncio.TaskGroup() as group:
            for part in (self._objects, self._workers, self._begin, self._tokens, self._retry):
                group.create_task(part.run())

    # ------------------------------------------------------------------ what makes a volume stale

    def _watch(self, uid: str) -> None:
        one, pod = self._followed.get(uid), self._pod(uid)
        if one is None or pod is None:
            return
        for entry in _live(pod):
            keys = _keys(pod, [entry])
            self._objects.follow(uid, keys)
            # What another pod's watch has told already is not told again.
            known = [self._objects.version(key) for key in keys]
            if any(new is not None and new != one.versions.get(key) for key, new in zip(keys, known, strict=True)):
                one.stale[entry.name] = None
        if one.stale:
            self._workers.trigger(uid)

    def _object_changed(self, key: ObjectKey, uids: frozenset[str]) -> None:
        for uid in sorted(uids):
            one, pod = self._followed.get(uid), self._pod(uid)
            if one is not None and pod is not None and one.versions.get(key) != self._objects.version(key):
                self._mark(uid, one, [entry for entry in _live(pod) if key in _keys(pod, [entry])])

    def _tokens_due(self, uid: str) -> None:
        one, pod = self._followed.get(uid), self._pod(uid)
        if one is not None and pod is not None:
            self._mark(uid, one, volumes_with_tokens(pod))

    def _mark(self, uid: str, one: _Followed, entries: Iterable[VolumeEntry]) -> None:
        one.stale |= dict.fromkeys(entry.name for entry in entries)
        if one.stale:
            self._workers.trigger(uid)

    # ------------------------------------------------------------------ filling

    async def _work(self, uid: str) -> bool:
        async with self._turns:
            one, record, pod = self._followed.get(uid), self._record(uid), self._pod(uid)
            if one is None or record is None or pod is None or record.raw is None or not one.stale:
                return False
            names, one.stale = one.stale, {}
            entries = [entry for entry in _live(pod) if entry.name in names]
            if any(names_of_volumes([entry]).tokens for entry in entries):
                # A token's time is that of all: else one replaced early would hide when the others are due.
                entries += [entry for entry in volumes_with_tokens(pod) if entry.name not in names]
            self._retry.cancel(uid)
            try:
                failed = await self._fill(one, record.raw, pod, entries)
            except (KubeError, CloudError) as error:
                log.warning("volume.not_refreshed", uid=uid, error=str(error), retry_seconds=RETRY_SECONDS)
                failed = entries
            if failed and uid in self._followed:
                one.stale = dict.fromkeys(entry.name for entry in failed) | one.stale
                self._retry.set(uid, self._clock.now() + RETRY_SECONDS)
            return False

    async def _fill(self, one: _Followed, raw: Json, pod: Pod, entries: list[VolumeEntry]) -> list[VolumeEntry]:
        """Fill volumes anew; return those that could not be."""
        uid = pod.metadata.uid
        fetched = await fetch(pod, names_of_volumes(entries), self._api, self._facts(), self._random, self._held(pod))
        failed = []
        for entry in entries:
            try:
                filled = volume(pod, entry, fetched.references, f"spec.volumes({entry.name})")
            except Rejection as rejection:
                self._tell(raw, rejection.reason, rejection.message)
                failed.append(entry)
                continue
            if isinstance(filled, FilesVolume):
                await self._backend.update_files(PodUid(uid), filled.name, filled.files)
        one.versions |= _keyed(pod, fetched)
        if fetched.refresh_at is not None and uid in self._followed:
            self._tokens.set(uid, fetched.refresh_at)
        told = [entry.name for entry in entries if entry not in failed]
        log.info("volume.refreshed", uid=uid, pod=f"{pod.metadata.namespace}/{pod.metadata.name}", volumes=told)
        return failed

    def _held(self, pod: Pod) -> Callable[[str, str], Json | None]:
        return lambda kind, name: self._objects.content(ObjectKey(kind, pod.metadata.namespace, name))

    def _pod(self, uid: str) -> Pod | None:
        """Return a pod whose volumes somebody may still read."""
        record = self._record(uid)
        if record is None or record.absent or record.instance is None or record.instance.phase in TERMINAL:
            return None
        return record.pod

    def _crashed(self, uid: str, _error: Exception) -> None:
        self._retry.set(uid, self._clock.now() + RETRY_SECONDS)


def _live(pod: Pod) -> list[VolumeEntry]:
    """Return the volumes whose content comes from the cluster and may change."""
    return [
        one
        for _, one in mounted_volumes(pod.spec)
        if one.config_map is not None or one.secret is not None or one.projected is not None or shows_metadata(one)
    ]


def _keys(pod: Pod, entries: list[VolumeEntry]) -> list[ObjectKey]:
    names, namespace = names_of_volumes(entries), pod.metadata.namespace
    return [
        *(ObjectKey("configmap", namespace, name) for name in names.config_maps),
        *(ObjectKey("secret", namespace, name) for name in names.secrets),
    ]


def _keyed(pod: Pod, fetched: Fetched) -> dict[ObjectKey, str]:
    return {ObjectKey(kind, pod.metadata.namespace, name): text for (kind, name), text in fetched.versions.items()}
