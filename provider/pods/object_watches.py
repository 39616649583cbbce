"""ConfigMaps and Secrets that running pods show as files, watched one by one (kubelet: watch_based_manager.go).

The Node authorizer lets a node list and watch an object that one of its pods names, by the field selector of its name.
One watch serves every pod of the node that names the object, and ends with the last of them. An object that says that
it is immutable is watched no longer; one that is not there is waited for.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NamedTuple

from provider.kube.reflector import Reflector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from random import Random  # noqa: TID251 (the type; the value is injected)

    from provider.clock import Clock
    from provider.kube import store
    from provider.kube.client import KubeApi

Json = dict[str, Any]

WATCH_SECONDS = 1800
"""kubelet: MinWatchTimeout of its objects' reflectors."""
ABSENT = ""
"""The version of an object that is not there."""


class ObjectKey(NamedTuple):
    """`kind` is `configmap` or `secret`."""

    kind: str
    namespace: str
    name: str

    @property
    def path(self) -> str:
        """The object's collection."""
        return f"/api/v1/namespaces/{self.namespace}/{self.kind}s"


class _Watched:
    """One object: who names it, its state once it is known, the task that watches it."""

    def __init__(self) -> None:
        self.pods: set[str] = set()
        self.known = False
        self.content: Json | None = None
        self.task: asyncio.Task[None] | None = None

    @property
    def version(self) -> str:
        return ABSENT if self.content is None else str(self.content["metadata"]["resourceVersion"])

    def stop(self) -> None:
        if self.task is not None:
            self.task.cancel()
            self.task = None


class ObjectWatches:
    """The objects of one node's pods; run `run` as a task of a TaskGroup before anything is followed."""

    def __init__(
        self,
        api: KubeApi,
        changed: Callable[[ObjectKey, frozenset[str]], None],
        *,
        clock: Clock,
        random: Random,
    ) -> None:
        """Tell `changed` of an object whose state has become known or is another one now, and of its pods' UIDs."""
        self._api = api
        self._changed = changed
        self._clock = clock
        self._random = random
        self._objects: dict[ObjectKey, _Watched] = {}
        self._group: asyncio.TaskGroup | None = None

    def __len__(self) -> int:
        return sum(one.task is not None for one in self._objects.values())

    def content(self, key: ObjectKey) -> Json | None:
        """Return the object's newest known state; None if it is not there, or nothing is known of it."""
        one = self._objects.get(key)
        return None if one is None else one.content

    def version(self, key: ObjectKey) -> str | None:
        """Return its resourceVersion, ABSENT for one that is not there, None as long as nothing is known of it."""
        one = self._objects.get(key)
        return one.version if one is not None and one.known else None

    def follow(self, uid: str, keys: Iterable[ObjectKey]) -> None:
        """Watch these objects for a pod; `changed` is not called for what is known already."""
        for key in keys:
            one = self._objects.get(key)
            if one is None:
                one = self._objects[key] = _Watched()
                if self._group is None:
                    raise RuntimeError("ObjectWatches.follow before run")
                one.task = self._group.create_task(self._watch(key, one))
            one.pods.add(uid)

    def drop(self, uid: str) -> None:
        """End what is watched for this pod only."""
        for key, one in list(self._objects.items()):
            if uid in one.pods:
                one.pods.discard(uid)
                if not one.pods:
                    one.stop()
                    del self._objects[key]

    async def run(self) -> None:
        """Keep the watches' tasks until cancelled."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                self._group = None

    async def _watch(self, key: ObjectKey, one: _Watched) -> None:
        async def take(change: store.Change) -> None:
            one.content = None if change.kind == "deleted" else change.new
            if one.known:
                tell()

        def listed() -> None:
            if not one.known:
                one.known = True
                tell()

        def tell() -> None:
            self._changed(key, frozenset(one.pods))
            if one.content is not None and one.content.get("immutable") is True:
                one.stop()

        query = {"fieldSelector": f"metadata.name={key.name}"}
        reflector = Reflector(
            self._api,
            key.path,
            query,
            take,
            clock=self._clock,
            random=self._random,
            listed=listed,
            watch_seconds=WATCH_SECONDS,
        )
        await reflector.run()
