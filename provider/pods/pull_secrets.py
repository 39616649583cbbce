"""The imagePullSecrets of pods whose images cannot be pulled, kept new: the kubelet reads them anew before each try.

Only a pod that waits with ErrImagePull or ImagePullBackOff is followed, until it does so no longer. Its secrets are
watched; whatever they say goes to the cloud (ElasticBackend.update_credentials), which takes it at its next try. A
secret that is not there is told then, once: as long as no pull fails it is not missed (kubelet.go SyncPod,
FailedToRetrieveImagePullSecret).
"""

from __future__ import annotations

import asyncio
from base64 import b64decode
from binascii import Error as BadBase64
from typing import TYPE_CHECKING, Any

import structlog

from provider.model.errors import CloudError
from provider.model.ids import PodUid
from provider.pods.object_watches import ABSENT, ObjectKey, ObjectWatches
from provider.pods.timetable import Timetable
from provider.pods.worker import Workers
from provider.translate.credentials import credentials
from provider.translate.references import References

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random  # noqa: TID251 (the type; the value is injected)

    from provider.clock import Clock
    from provider.cloud.backend import ElasticBackend
    from provider.kube.client import KubeApi
    from provider.model.instance import Instance
    from provider.model.pod import Pod
    from provider.pods.record import PodRecord

Json = dict[str, Any]
log = structlog.get_logger(__name__)

RETRY_SECONDS = 5.0
MISSING = "FailedToRetrieveImagePullSecret"
_FAILING = frozenset({"ErrImagePull", "ImagePullBackOff"})


class PullSecrets:
    """The pull secrets of one node's pods; run `run` as a task of a TaskGroup."""

    def __init__(
        self,
        record: Callable[[str], PodRecord | None],
        api: KubeApi,
        backend: ElasticBackend,
        tell: Callable[[Json, str, str], None],
        *,
        clock: Clock,
        random: Random,
    ) -> None:
        """`record` finds a pod by UID; `tell` makes a warning of a pod, a reason and a message."""
        self._record = record
        self._backend = backend
        self._tell = tell
        self._missed: dict[str, str] = {}
        self._clock = clock
        self._following: set[str] = set()
        self._watches = ObjectWatches(api, self._changed, clock=clock, random=random)
        self._workers = Workers(self._work, self._crashed)
        self._retry = Timetable(self._workers.trigger, clock)

    def instance_changed(self, instance: Instance) -> None:
        """Follow a pod while an image of it cannot be pulled."""
        uid = str(instance.uid)
        if not any(one.state.reason in _FAILING for one in instance.containers):
            self.drop(uid)
        elif uid not in self._following:
            self._following.add(uid)
            self._workers.trigger(uid)

    def drop(self, uid: str) -> None:
        """Follow a pod no longer."""
        if uid in self._following:
            self._following.discard(uid)
            self._missed.pop(uid, None)
            self._retry.cancel(uid)
            self._watches.drop(uid)

    async def run(self) -> None:
        """Keep the logins new until cancelled."""
        async with asyncio.TaskGroup() as group:
            for part in (self._watches, self._workers, self._retry):
                group.create_task(part.run())

    def _changed(self, _key: ObjectKey, uids: frozenset[str]) -> None:
        for uid in sorted(uids):
            self._workers.trigger(uid)

    async def _work(self, uid: str) -> bool:
        record = self._record(uid)
        pod = None if record is None else record.pod
        if uid not in self._following:
            return False
        if pod is None:  # the cloud has told of it before the API server
            self._retry.set(uid, self._clock.now() + RETRY_SECONDS)
            return False
        keys = _keys(pod)
        self._watches.follow(uid, keys)
        if not keys or any(self._watches.version(key) is None for key in keys):
            return False  # `_changed` comes once they are known
        found = {key.name: self._data(key) for key in keys if self._watches.version(key) != ABSENT}
        references = References(secrets=found)
        self._tell_missing(uid, record, missing(pod, references))
        logins = credentials(pod.spec, references)
        try:
            await self._backend.update_credentials(PodUid(uid), logins)
        except CloudError as error:
            log.warning("pull_secrets.not_updated", uid=uid, error=str(error), retry_seconds=RETRY_SECONDS)
            self._retry.set(uid, self._clock.now() + RETRY_SECONDS)
        return False

    def _tell_missing(self, uid: str, record: PodRecord | None, text: str) -> None:
        if text and self._missed.get(uid) != text and record is not None and record.raw is not None:
            self._tell(record.raw, MISSING, text)
        self._missed[uid] = text

    def _data(self, key: ObjectKey) -> dict[str, bytes]:
        content = self._watches.content(key) or {}
        try:
            return {name: b64decode(value) for name, value in (content.get("data") or {}).items()}
        except (BadBase64, TypeError):
            return {}

    def _crashed(self, uid: str, _error: Exception) -> None:
        self._retry.set(uid, self._clock.now() + RETRY_SECONDS)


def missing(pod: Pod, references: References) -> str:
    """Return what is told of pull secrets that are not there, empty if all are."""
    names = [one.name for one in pod.spec.image_pull_secrets or () if one.name and one.name not in references.secrets]
    if not names:
        return ""
    listed = ", ".join(names)
    return f"Unable to retrieve some image pull secrets ({listed}); attempting to pull the image may not succeed."


def _keys(pod: Pod) -> list[ObjectKey]:
    named = dict.fromkeys(one.name for one in pod.spec.image_pull_secrets or () if one.name)
    return [ObjectKey("secret", pod.metadata.namespace, name) for name in named]
