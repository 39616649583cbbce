"""FakeKubeApi: KubeApi in memory, with the API server's rules that this project leans on, and a record of the calls.

Kept honest by tests/contract/kube, which runs one suite over it and over a real API server.
"""

from __future__ import annotations

import asyncio
import copy
import functools
import uuid
from typing import TYPE_CHECKING, Any, NamedTuple

from provider.kube.client import KubeError
from provider.model.timestamps import rfc3339

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from provider.clock import Clock
    from provider.kube.client import PatchKind

Json = dict[str, Any]
MERGE_KEYS = {"conditions": "type", "podIPs": "ip", "hostIPs": "ip", "addresses": "type"}
ENDED = ("Succeeded", "Failed")


class Call(NamedTuple):
    verb: str
    path: str
    body: Json | None = None


class Place(NamedTuple):
    """A path taken apart: `/api/v1/namespaces/n/pods/p/status`."""

    prefix: str
    namespace: str
    plural: str
    name: str
    sub: str

    @classmethod
    def of(cls, path: str) -> Place:
        parts = path.strip("/").split("/")
        cut = 2 if parts[0] == "api" else 3
        prefix, rest = "/".join(parts[:cut]), parts[cut:]
        namespace = ""
        if rest[0] == "namespaces" and len(rest) > 2:
            namespace, rest = rest[1], rest[2:]
        rest += [""] * (3 - len(rest))
        return cls(prefix, namespace, rest[0], rest[1], rest[2])

    @property
    def key(self) -> tuple[str, str, str, str]:
        return self.prefix, self.plural, self.namespace, self.name


def _answered(method: Callable[..., Awaitable[Json]]) -> Callable[..., Awaitable[Json]]:
    """Let a call whose answer is to be lost fail after it has taken effect."""

    @functools.wraps(method)
    async def call(self: FakeKubeApi, path: str, *arguments: Any, **named: Any) -> Json:
        answer = await method(self, path, *arguments, **named)
        self._raise_first(self._losses, method.__name__, path)
        return answer

    return call


class FakeKubeApi:
    """`calls` keeps what was asked, `fail` and `lose` let calls fail, `hook` sees each call before it is answered."""

    def __init__(self, clock: Clock) -> None:
        self.calls: list[Call] = []
        self.tokens: list[Json] = []
        self.hook: Callable[[Call], None] = lambda _: None
        self._clock = clock
        self._objects: dict[tuple[str, str, str, str], Json] = {}
        self._version = 1
        self._history: list[tuple[int, str, tuple[str, str, str, str], Json]] = []
        self._news = asyncio.Event()
        self._failures: list[tuple[str, str, KubeError]] = []
        self._losses: list[tuple[str, str, KubeError]] = []
        self._oldest = 0

    # ------------------------------------------------------------------ for tests

    def fail(self, verb: str, path: str, error: KubeError, times: int = 1) -> None:
        """Let the next `times` calls of this verb fail whose path holds `path`."""
        self._failures += [(verb, path, error)] * times

    def lose(self, verb: str, path: str, times: int = 1) -> None:
        """Let the answers of the next `times` such calls be lost: they take effect, and the caller cannot know."""
        self._losses += [(verb, path, KubeError(0, "ServerDisconnectedError", ""))] * times

    def calm(self) -> None:
        """Let nothing fail any more."""
        self._failures.clear()
        self._losses.clear()

    def writes(self) -> list[Call]:
        """Return the calls that change something stored, events aside."""
        return [
            one
            for one in self.calls
            if one.verb in ("create", "patch", "delete") and "/events" not in one.path and "/token" not in one.path
        ]

    def events(self) -> list[Json]:
        return [item for (_, plural, _, _), item in self._objects.items() if plural == "events"]

    def drop_history(self) -> None:
        """Forget the past: a watch from an old version gets 410, as after a compaction."""
        self._oldest = self._version
        self._history.clear()
        self._news.set()

    def held(self, path: str) -> Json | None:
        """Return the object at `path` as it is stored now, without a call."""
        return copy.deepcopy(self._objects.get(Place.of(path).key))

    def edit(self, path: str, change: Callable[[Json], None]) -> None:
        """Let somebody else change an object, without a call of ours."""
        key = Place.of(path).key
        item = copy.deepcopy(self._objects[key])
        change(item)
        self._store("MODIFIED", key, item)

    def remove(self, path: str) -> None:
        """Let somebody else delete an object at once, without a call of ours."""
        key = Place.of(path).key
        self._store("DELETED", key, copy.deepcopy(self._objects[key]))

    def put(self, path: str, item: Json) -> None:
        """Let somebody else create the object at `path`, without a call of ours."""
        place = Place.of(path)
        meta = {"name": place.name, "uid": str(uuid.uuid4()), "generation": 1, **item.get("metadata", {})}
        self._store("ADDED", place.key, {**copy.deepcopy(item), "metadata": meta})

    def vanish(self, path: str) -> None:
        """Remove an object behind every watcher's back (it is missing in the next list)."""
        del self._objects[Place.of(path).key]
        self._version += 1

    # ------------------------------------------------------------------ KubeApi

    async def get(self, path: str, query: Mapping[str, str] | None = None) -> Json:
        await self._enter("get", path, None)
        return copy.deepcopy(self._held(path))

    async def list(self, path: str, query: Mapping[str, str] | None = None) -> Json:
        await self._enter("list", path, None)
        place = Place.of(path)
        chosen = _selector((query or {}).get("fieldSelector", ""))
        items = [copy.deepcopy(item) for key, item in self._objects.items() if _within(place, key) and chosen(item)]
        return {"metadata": {"resourceVersion": str(self._version)}, "items": items}

    @_answered
    async def create(self, path: str, body: Json) -> Json:
        await self._enter("create", path, body)
        place = Place.of(path)
        if place.sub == "token":
            return self._token(place, body)
        name = body["metadata"].get("name") or f"{body['metadata']['generateName']}{uuid.uuid4().hex[:5]}"
        key = place._replace(name=name).key
        if key in self._objects:
            raise KubeError(409, "AlreadyExists", f'{place.plural} "{name}" already exists')
        item = copy.deepcopy(body)
        meta = {
            "namespace": place.namespace,
            "uid": str(uuid.uuid4()),
            "generation": 1,
            "creationTimestamp": rfc3339(self._clock.now()),
        }
        item["metadata"] = {**meta, **item["metadata"], "name": name}
        if place.plural == "pods":
            item["spec"].setdefault("terminationGracePeriodSeconds", 30)
            item.setdefault("status", {"phase": "Pending", "qosClass": "BestEffort"})
        self._store("ADDED", key, item)
        return copy.deepcopy(item)

    @_answered
    async def patch(self, path: str, body: Json, kind: PatchKind, query: Mapping[str, str] | None = None) -> Json:
        await self._enter("patch", path, body)
        place = Place.of(path)
        item = copy.deepcopy(self._held(path))
        uid = body.get("metadata", {}).get("uid")
        if uid is not None and uid != item["metadata"]["uid"]:
            raise KubeError(422, "Invalid", f'metadata.uid: Invalid value: "{uid}": field is immutable')
        version = body.get("metadata", {}).get("resourceVersion")
        if version is not None and version != item["metadata"]["resourceVersion"]:
            raise KubeError(409, "Conflict", "the object has been modified; please apply your changes to the latest")
        change = {"status": body.get("status", {})} if place.sub == "status" else body
        if (
            place.sub == "status" and place.plural == "pods"
        ):  # pkg/registry/core/pod/strategy.go: metadata but its owners
            change["metadata"] = {k: v for k, v in body.get("metadata", {}).items() if k == "annotations"}
        if place.sub != "status":
            change = {key: value for key, value in change.items() if key != "status"}
        merged = _merge(item, change, strategic=kind == "strategic")
        if merged != item:
            self._store("MODIFIED", place._replace(sub="").key, merged)
        return copy.deepcopy(merged)

    @_answered
    async def delete(
        self,
        path: str,
        *,
        uid: str | None = None,
        resource_version: str | None = None,
        grace_seconds: int | None = None,
    ) -> Json:
        await self._enter("delete", path, {"uid": uid, "grace": grace_seconds})
        item = copy.deepcopy(self._held(path))
        meta = item["metadata"]
        if uid is not None and uid != meta["uid"]:
            raise KubeError(409, "Conflict", "Precondition failed: UID in precondition")
        if resource_version is not None and resource_version != meta["resourceVersion"]:
            raise KubeError(409, "Conflict", "Precondition failed: ResourceVersion in precondition")
        key = Place.of(path).key
        grace = self._grace(item, grace_seconds) if key[1] == "pods" else 0
        before = meta.get("deletionGracePeriodSeconds")
        if grace or meta.get("finalizers"):
            if before is None or grace < before:
                meta["deletionTimestamp"] = rfc3339(self._clock.now() + grace)
                meta["deletionGracePeriodSeconds"] = grace
                meta["generation"] += 0 if before is not None else 1
                self._store("MODIFIED", key, item)
            return item
        if key[1] == "pods":
            meta["deletionTimestamp"] = rfc3339(self._clock.now())
            meta["deletionGracePeriodSeconds"] = 0
        self._store("DELETED", key, item)
        return item

    async def watch(self, path: str, query: Mapping[str, str], idle_seconds: float) -> AsyncIterator[Json]:
        await self._enter("watch", path, None)
        place, chosen = Place.of(path), _selector(query.get("fieldSelector", ""))
        version = int(query["resourceVersion"])
        while True:
            if version < self._oldest:
                yield {"type": "ERROR", "object": {"code": 410, "reason": "Expired", "message": "too old"}}
                return
            for at, kind, key, item in self._history:
                if at > version and _within(place, key) and chosen(item):
                    yield {"type": kind, "object": copy.deepcopy(item)}
            version = self._version
            self._news.clear()
            await self._news.wait()

    # ------------------------------------------------------------------ rules

    async def _enter(self, verb: str, path: str, body: Json | None) -> None:
        call = Call(verb, path, copy.deepcopy(body))
        self.calls.append(call)
        self.hook(call)
        await self._clock.sleep(0)
        self._raise_first(self._failures, verb, path)

    def _raise_first(self, troubles: list[tuple[str, str, KubeError]], verb: str, path: str) -> None:
        for index, (failing, part, error) in enumerate(troubles):
            if failing == verb and part in path:
                del troubles[index]
                raise error

    def _held(self, path: str) -> Json:
        place = Place.of(path)
        item = self._objects.get(place._replace(sub="").key)
        if item is None:
            raise KubeError(404, "NotFound", f'{place.plural} "{place.name}" not found')
        return item

    def _store(self, kind: str, key: tuple[str, str, str, str], item: Json) -> None:
        self._version += 1
        item["metadata"]["resourceVersion"] = str(self._version)
        if kind == "DELETED":
            del self._objects[key]
        else:
            self._objects[key] = item
        self._history.append((self._version, kind, key, copy.deepcopy(item)))
        self._news.set()

    def _grace(self, item: Json, given: int | None) -> int:
        if not item["spec"].get("nodeName") or item["status"].get("phase") in ENDED:
            return 0
        return int(item["spec"]["terminationGracePeriodSeconds"]) if given is None else given

    def _token(self, place: Place, body: Json) -> Json:
        self._held(f"/{place.prefix}/namespaces/{place.namespace}/serviceaccounts/{place.name}")
        self.tokens.append(body["spec"])
        seconds = body["spec"]["expirationSeconds"]
        status = {
            "token": f"token-{len(self.tokens)}",
            "expirationTimestamp": rfc3339(self._clock.now() + seconds),
        }
        return {**body, "status": status}


def _within(place: Place, key: tuple[str, str, str, str]) -> bool:
    return place.prefix == key[0] and place.plural == key[1] and place.namespace in ("", key[2])


def _selector(text: str) -> Callable[[Json], bool]:
    wanted = [part.split("=", 1) for part in text.split(",") if part]

    def chosen(item: Json) -> bool:
        return all(_field(item, path) == value for path, value in wanted)

    return chosen


def _field(item: Json, path: str) -> str:
    value: Any = item
    for part in path.split("."):
        value = value.get(part, "") if isinstance(value, dict) else ""
    return str(value)


def _merge(old: Json, change: Json, *, strategic: bool) -> Json:
    merged = dict(old)
    for key, value in change.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict):
            merged[key] = _merge(merged.get(key) or {}, value, strategic=strategic)
        elif strategic and key in MERGE_KEYS and isinstance(value, list):
            merged[key] = _merge_list(merged.get(key) or [], value, MERGE_KEYS[key])
        else:
            merged[key] = value
    return merged


def _merge_list(old: list[Json], change: list[Json], name: str) -> list[Json]:
    if any(one.get("$patch") == "replace" for one in change):
        return [one for one in change if "$patch" not in one]
    merged = {one[name]: one for one in old}
    for one in change:
        merged[one[name]] = _merge(merged.get(one[name], {}), one, strategic=True)
    return list(merged.values())
