"""Applies and removes manifests over the API: server-side apply, so that large CRDs and repeated runs are no matter.

Where an object lives is asked of the API server (discovery), once for each group and version.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import yaml

from provider.kube.client import KubeError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from provider.clock import Clock
    from provider.kube.client import Json, KubeApi

__all__ = ["MANAGER", "OWN", "Manifests", "documents", "is_available", "is_established", "is_own", "wait_for"]

MANAGER = "zonelet"
"""The field manager: fields that others set on the same objects stay theirs."""

OWN = {"app.kubernetes.io/managed-by": "zonelet"}
"""The label of what was made in a cluster that is somebody else's."""

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast where libyaml is there
_IDLE_SECONDS = 60.0
_RETRY_SECONDS = 0.5


def documents(text: str) -> list[Json]:
    """Return the objects of a YAML stream, empty documents left out."""
    return [each for each in yaml.load_all(text, Loader=_LOADER) if each]


class Manifests:
    """Puts objects into one cluster, and takes them out again. Every method raises KubeError."""

    def __init__(self, api: KubeApi) -> None:
        self._api = api
        self._resources: dict[str, dict[str, tuple[str, bool]]] = {}

    async def apply(self, objects: Iterable[Json]) -> None:
        """Apply the objects in their order; what another manager set differently is taken over."""
        for each in objects:
            path = await self.path(each)
            await self._api.patch(path, each, "apply", {"fieldManager": MANAGER, "force": "true"})

    async def apply_own(self, objects: Iterable[Json]) -> None:
        """Apply the objects, with a mark on those that nobody else has made: `remove_own` takes only these."""
        for each in objects:
            found = await self.find(each)
            meta = {**each["metadata"], "labels": {**each["metadata"].get("labels", {}), **OWN}}
            await self.apply([{**each, "metadata": meta} if found is None or is_own(found) else each])

    async def remove_own(self, objects: Sequence[Json]) -> None:
        """Delete those of the objects that `apply_own` has made, in reverse order."""
        for each in reversed(objects):
            found = await self.find(each)
            if found is not None and is_own(found):
                await self.remove([each])

    async def remove(self, objects: Sequence[Json]) -> None:
        """Delete the objects in reverse order; unknown ones, of kinds not served too, are removed already."""
        for each in reversed(objects):
            try:
                await self._api.delete(await self.path(each))
            except KubeError as error:
                if error.code != HTTPStatus.NOT_FOUND:
                    raise

    async def find(self, document: Json) -> Json | None:
        """Return the object as the server has it, None when it or its kind is not there."""
        try:
            return await self._api.get(await self.path(document))
        except KubeError as error:
            if error.code != HTTPStatus.NOT_FOUND:
                raise
            return None

    async def path(self, document: Json) -> str:
        """Return the API path of an object; KubeError 404 when the server does not know its kind."""
        version, kind = document["apiVersion"], document["kind"]
        root = f"/apis/{version}" if "/" in version else f"/api/{version}"
        if version not in self._resources:
            listed = await self._api.get(root)
            self._resources[version] = {
                each["kind"]: (each["name"], each["namespaced"])
                for each in listed["resources"]
                if "/" not in each["name"]
            }
        if kind not in self._resources[version]:
            raise KubeError(HTTPStatus.NOT_FOUND, "NotFound", f"the server serves no {kind} in {version}")
        plural, namespaced = self._resources[version][kind]
        meta = document["metadata"]
        place = f"{root}/namespaces/{meta.get('namespace', 'default')}" if namespaced else root
        return f"{place}/{plural}/{meta['name']}"


async def wait_for(api: KubeApi, path: str, holds: Callable[[Json], bool], *, clock: Clock, seconds: float) -> Json:
    """Return the object at `path` once it is there and `holds`; TimeoutError after `seconds`.

    Watches; an API server that is away or restarts in the meantime is waited for. KubeError when it refuses (403, 401).
    """
    collection, _, name = path.rpartition("/")
    selector = {"fieldSelector": f"metadata.name={name}"}
    async with asyncio.timeout(seconds):
        while True:
            try:
                listed = await api.list(collection, selector)
                found: Json | None = next((each for each in listed["items"] if holds(each)), None)
                if found is not None:
                    return found
                since = {"resourceVersion": listed["metadata"]["resourceVersion"]}
                found = await _watched(api, collection, selector | since, holds)
                if found is not None:
                    return found
            except KubeError as error:
                if error.code in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
                    raise
            await clock.sleep(_RETRY_SECONDS)


async def _watched(api: KubeApi, collection: str, query: dict[str, str], holds: Callable[[Json], bool]) -> Json | None:
    async for event in api.watch(collection, query, _IDLE_SECONDS):
        if event["type"] in ("ADDED", "MODIFIED") and holds(event["object"]):
            found: Json = event["object"]
            return found
    return None


def is_own(document: Json) -> bool:
    """Say whether the object was made by `apply_own`."""
    return OWN.items() <= (document["metadata"].get("labels") or {}).items()


def is_established(crd: Json) -> bool:
    """Say whether a CustomResourceDefinition is served."""
    return _condition(crd, "Established")


def is_available(deployment: Json) -> bool:
    """Say whether a Deployment's newest generation is rolled out and enough of its pods are ready."""
    seen = deployment.get("status", {}).get("observedGeneration", 0)
    return seen >= deployment["metadata"].get("generation", 0) and _condition(deployment, "Available")


def _condition(document: Json, kind: str) -> bool:
    conditions = document.get("status", {}).get("conditions") or ()
    return any(each["type"] == kind and each["status"] == "True" for each in conditions)
