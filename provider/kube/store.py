"""A set of objects by UID, and what a fresh list changes in it (upstream: client-go `tools/cache`); no I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterable

Json = dict[str, Any]


class Change(Struct, frozen=True):
    """One object that came, changed or went; `old` is None for an added one, `new` of a deleted one its last state."""

    kind: Literal["added", "modified", "deleted"]
    new: Json
    old: Json | None = None


def is_newer(new: Json, old: Json) -> bool:
    """Return whether `new` is a later state than `old` of one object (resourceVersions compare, KEP-5504)."""
    one, other = new["metadata"].get("resourceVersion") or "", old["metadata"].get("resourceVersion") or ""
    if one.isdecimal() and other.isdecimal():
        return int(one) > int(other)
    return bool(one != other)


class Store:
    """Objects by metadata.uid: a pod made again under its old name is another object."""

    def __init__(self) -> None:
        self._objects: dict[str, Json] = {}

    def __len__(self) -> int:
        return len(self._objects)

    def get(self, uid: str) -> Json | None:
        """Return the object with this UID, or None."""
        return self._objects.get(uid)

    def objects(self) -> list[Json]:
        """Return all objects, in the order in which they came."""
        return list(self._objects.values())

    def put(self, new: Json) -> Change | None:
        """Take an added or modified object in; None when this state of it, or a newer one, is held already.

        So a watch that lags behind the answers to our own patches does not take them back. `managedFields`, half of an
        object's size, are dropped.
        """
        new["metadata"].pop("managedFields", None)
        uid = new["metadata"]["uid"]
        old = self._objects.get(uid)
        if old is None:
            self._objects[uid] = new
            return Change("added", new)
        if not is_newer(new, old):
            return None
        self._objects[uid] = new
        return Change("modified", new, old)

    def remove(self, last: Json) -> Change | None:
        """Take a deleted object out; None when it was not held."""
        old = self._objects.pop(last["metadata"]["uid"], None)
        return None if old is None else Change("deleted", last, old)

    def replace(self, listed: Iterable[Json]) -> list[Change]:
        """Make the store equal to a fresh list, and return the difference: the deletions first."""
        fresh = {item["metadata"]["uid"]: item for item in listed}
        gone = [item for uid, item in self._objects.items() if uid not in fresh]
        changes = [self.remove(item) for item in gone] + [self.put(item) for item in fresh.values()]
        return [change for change in changes if change is not None]
