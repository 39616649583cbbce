"""The usage ledger: writes an instance's row and what it costs together, so that no crash can part them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import structlog
from msgspec.structs import replace

from provider.cloud.instances.charging import closed, has_ended, opened, until
from provider.model.bill import Outcome, UsageRecord

if TYPE_CHECKING:
    from collections.abc import Container

    from provider.cloud.instances.entry import Entry
    from provider.cloud.instances.journal import Journal
    from provider.model.ids import PodUid
    from provider.model.profile import Profile

log = structlog.get_logger(__name__)

_DECODER = msgspec.json.Decoder(UsageRecord)
_ENCODE = msgspec.json.Encoder().encode


class Accounts:
    """The ledger of one life of the cloud; the journal has it, this object only what runs."""

    def __init__(self, journal: Journal, profile: Profile) -> None:
        self._journal = journal
        self._profile = profile
        self._open: dict[PodUid, UsageRecord] = {one.uid: one for one in _read(journal.open_usage())}

    def save(self, entry: Entry, row: bytes, now: float) -> None:
        """Write the instance's state and, where it begins or ends to cost, that too. CloudError as the journal's."""
        record = self._changed(entry, now)
        with self._journal.transaction():
            self._journal.save(entry.uid, row)
            if record is not None:
                self._journal.store_usage(record.uid, record.started_at, record.ended_at, _ENCODE(record))
        if record is None:
            return
        if record.ended_at is None:
            self._open[record.uid] = record
        else:
            self._open.pop(record.uid, None)

    def settle(self, known: Container[PodUid], now: float) -> None:
        """Close the records of instances that the journal has no more, once the others are restored.

        They were running, and their rows cannot be read: nobody else would ever end them. Told loudly.
        """
        for record in [one for one in self._open.values() if one.uid not in known]:
            log.warning("usage.instance_is_lost", uid=record.uid, name=record.name, charged="until now")
            lost = replace(until(record, now), ended_at=max(now, record.started_at), outcome=Outcome.FAILED)
            self._journal.store_usage(lost.uid, lost.started_at, lost.ended_at, _ENCODE(lost))
            del self._open[lost.uid]

    def _changed(self, entry: Entry, now: float) -> UsageRecord | None:
        """Return the record to be written, None for none. What has ended is never opened again."""
        request, instance = entry.machine.request, entry.machine.instance()
        record = self._open.get(entry.uid)
        if record is None:
            if instance.sandbox_ready_at is None or self._journal.has_usage(entry.uid):
                return None
            record = opened(request, instance, self._profile)
        elif not has_ended(instance):
            return None
        return closed(record, request, instance, now) if record and has_ended(instance) else record


def usage_since(journal: Journal, since: float | None, now: float) -> list[UsageRecord]:
    """Return the attempts that began to cost at a moment or later, the oldest first; None: all that are kept."""
    return [until(record, now) for record in _read(journal.usage(since))]


def _read(rows: list[bytes]) -> list[UsageRecord]:
    found = []
    for row in rows:
        try:
            found.append(_DECODER.decode(row))
        except msgspec.MsgspecError as error:
            log.warning("usage.record_cannot_be_read", error=str(error), record=row[:200])
    return found
