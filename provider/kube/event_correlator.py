"""What client-go's event correlator makes of an event: skip it, count it on, or send it as it is. No I/O, no clock.

Upstream: client-go v0.37 tools/record/events_cache.go. In this order: ten events that differ by message only within ten
minutes become one ("combined from similar events"); an event seen before becomes a PATCH of its count; one source
may send 25 events about one object, and then one more every five minutes.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Generic, TypeVar

from msgspec import Struct

Json = dict[str, Any]
Value = TypeVar("Value")

CACHE_ENTRIES = 4096
SIMILAR_EVENTS = 10
SIMILAR_SECONDS = 600.0
BURST = 25
REFILL_PER_SECOND = 1 / 300
COMBINED = "(combined from similar events): "


class Event(Struct, frozen=True, kw_only=True):
    """An event to report. `involved` is v1 Event.involvedObject, `kind` Normal or Warning, `at` in epoch seconds."""

    involved: Json
    kind: str
    reason: str
    message: str
    at: float


class Outcome(Struct, frozen=True, kw_only=True):
    """What to send: a new event (`count` 1), or the newest count of the one called `name`."""

    event: Event
    key: str
    count: int = 1
    name: str = ""
    first_at: float = 0


class Observation(Struct, frozen=True):
    """An event that the API server has: name, count, when it was first seen."""

    name: str
    count: int
    first_at: float


class _Similar:
    def __init__(self) -> None:
        self.messages: set[str] = set()
        self.last_at = float("-inf")


class _Bucket:
    def __init__(self, at: float) -> None:
        self.tokens = float(BURST)
        self.at = at

    def take(self, now: float) -> bool:
        self.tokens = min(BURST, self.tokens + max(0.0, now - self.at) * REFILL_PER_SECOND)
        self.at = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


class _Cache(Generic[Value]):
    """The newest entries; an old one that nobody asked for goes first."""

    def __init__(self) -> None:
        self._entries: OrderedDict[str, Value] = OrderedDict()

    def get(self, key: str) -> Value | None:
        entry = self._entries.get(key)
        if entry is not None:
            self._entries.move_to_end(key)
        return entry

    def put(self, key: str, value: Value) -> None:
        self._entries[key] = value
        self._entries.move_to_end(key)
        if len(self._entries) > CACHE_ENTRIES:
            self._entries.popitem(last=False)


class Correlator:
    """One source's (component and host) memory of what it has reported."""

    def __init__(self) -> None:
        self._similar: _Cache[_Similar] = _Cache()
        self._observed: _Cache[Observation] = _Cache()
        self._buckets: _Cache[_Bucket] = _Cache()

    def correlate(self, event: Event) -> Outcome | None:
        """Return what to send, None for an event over the limit."""
        event, key = self._aggregate(event)
        before = self._observed.get(key)
        outcome = Outcome(event=event, key=key, first_at=event.at)
        if before is not None:
            outcome = Outcome(event=event, key=key, count=before.count + 1, name=before.name, first_at=before.first_at)
            self._observed.put(key, Observation(before.name, outcome.count, before.first_at))
        bucket_key = _key(event.involved, "", event.kind)
        bucket = self._buckets.get(bucket_key)
        if bucket is None:
            bucket = _Bucket(event.at)
            self._buckets.put(bucket_key, bucket)
        return outcome if bucket.take(event.at) else None

    def sent(self, outcome: Outcome, name: str) -> None:
        """Remember what the API server has accepted under `name`."""
        self._observed.put(outcome.key, Observation(name, outcome.count, outcome.first_at))

    def _aggregate(self, event: Event) -> tuple[Event, str]:
        similar_key = _key(event.involved, "", event.kind, event.reason)
        similar = self._similar.get(similar_key)
        if similar is None or event.at - similar.last_at > SIMILAR_SECONDS:
            similar = _Similar()
            self._similar.put(similar_key, similar)
        similar.messages.add(event.message)
        similar.last_at = event.at
        if len(similar.messages) < SIMILAR_EVENTS:
            field = event.involved.get("fieldPath") or ""
            return event, _key(event.involved, field, event.kind, event.reason, event.message)
        similar.messages.pop()
        combined = Event(
            involved=event.involved,
            kind=event.kind,
            reason=event.reason,
            message=COMBINED + event.message,
            at=event.at,
        )
        return combined, similar_key


def _key(involved: Json, field: str, *words: str) -> str:
    names = (involved.get(name) or "" for name in ("kind", "namespace", "name", "uid", "apiVersion"))
    return "\0".join((*names, field, *words))
