"""Who watches the instances, and what each of them has yet to be told.

A reader that is slow gets the newest state of an instance, not each one: its queue names an instance once, and the
description is taken when the reader comes for it. Notices are kept as they are, up to a bound.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from provider.model.errors import CloudCode, CloudError
from provider.model.instance import InstanceChanged, InstanceGone, Notice, Synced, ZoneChanged

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable

    from provider.model.ids import PodUid, ZoneId
    from provider.model.instance import Change, Instance

KEPT_NOTICES = 10_000
DROPPED = "EventsDropped"
RETRY_SECONDS = 2.0
"""after which one whose watch has ended may begin a new one."""


class _Reader:
    """One watcher: what it has to be told, in order; an instance or a zone stands in the queue once."""

    def __init__(self) -> None:
        self.queue: deque[PodUid | InstanceGone | Notice | ZoneChanged] = deque()
        self.marked: set[PodUid] = set()
        self.zones: set[ZoneId] = set()
        self.notices = 0
        self.dropped = 0
        self.arrived = asyncio.Event()

    def add(self, item: PodUid | InstanceGone | Notice | ZoneChanged) -> None:
        self.queue.append(item)
        self.arrived.set()

    def add_notice(self, notice: Notice) -> None:
        if self.notices == KEPT_NOTICES:
            oldest = next(index for index, item in enumerate(self.queue) if isinstance(item, Notice))
            del self.queue[oldest]
            self.notices -= 1
            self.dropped += 1
        self.notices += 1
        self.add(notice)


class WatchHub:
    """Spreads changes; `describe` gives the newest description, None for one that is gone. It counts the revisions."""

    def __init__(self, describe: Callable[[PodUid], Instance | None], everyone: Callable[[], Iterable[PodUid]]) -> None:
        self._describe = describe
        self._everyone = everyone
        self._readers: set[_Reader] = set()
        self._closed = False
        self.revision = 0

    def close(self) -> None:
        """End every watch with UNAVAILABLE, once it has yielded what it still has to."""
        self._closed = True
        for reader in self._readers:
            reader.arrived.set()

    def next_revision(self) -> int:
        """Return the number of the change that is about to be told."""
        self.revision += 1
        return self.revision

    def changed(self, uid: PodUid) -> None:
        """Tell that an instance has a new description."""
        for reader in self._readers:
            if uid not in reader.marked:
                reader.marked.add(uid)
                reader.add(uid)

    def gone(self, uid: PodUid) -> None:
        """Tell that an instance's record is gone."""
        change = InstanceGone(uid, self.next_revision())
        for reader in self._readers:
            reader.add(change)

    def notice(self, notice: Notice) -> None:
        """Tell the user something."""
        for reader in self._readers:
            reader.add_notice(notice)

    def zone(self, zone: ZoneId) -> None:
        """Tell that stock or addresses of a zone have changed."""
        for reader in self._readers:
            if zone not in reader.zones:
                reader.zones.add(zone)
                reader.add(ZoneChanged(zone))

    async def watch(self) -> AsyncGenerator[Change, None]:
        """Yield all instances, Synced, then what comes."""
        reader = _Reader()
        self._readers.add(reader)
        try:
            for uid in list(self._everyone()):
                instance = self._describe(uid)
                if instance is not None:
                    reader.marked.discard(uid)
                    yield InstanceChanged(instance)
            yield Synced(self.revision)
            while True:
                while reader.queue:
                    change = self._take(reader)
                    if change is not None:
                        yield change
                if self._closed:
                    raise CloudError(CloudCode.UNAVAILABLE, "the cloud has stopped meanwhile", RETRY_SECONDS)
                reader.arrived.clear()
                await reader.arrived.wait()
        finally:
            self._readers.discard(reader)

    def _take(self, reader: _Reader) -> Change | None:
        if reader.dropped:
            text = f"{reader.dropped} notices were dropped because this watch was read too slowly"
            reader.dropped = 0
            uid = next(item.uid for item in reader.queue if isinstance(item, Notice))
            return Notice(uid=uid, reason=DROPPED, message=text, warning=True)
        item = reader.queue.popleft()
        match item:
            case Notice():
                reader.notices -= 1
                return item
            case InstanceGone():
                return item
            case ZoneChanged(zone):
                reader.zones.discard(zone)
                return item
        if item not in reader.marked:
            return None
        reader.marked.discard(item)
        instance = self._describe(item)
        return None if instance is None else InstanceChanged(instance)
