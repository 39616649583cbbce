"""Which of the things that the runtime shows belong to no instance of the journal, and may be removed. Pure.

Containers without a row are left by the loss of power (the journal is synced in the background) or by a journal that
was moved away. Four catches keep the sweep from what is not an orphan (Nomad's driver reconciliation has the same):
nothing is removed soon after the start; what is seen for the first time gets a grace, so that something that is being
made now is never caught half made; the runtime shows only what carries this installation's labels; what an instance has
taken over meanwhile is known. A UID that is used up is certainly ours and done with: it needs no grace.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from provider.model.ids import PodUid

INITIAL_DELAY = 60.0
GRACE = 60.0


class OrphanSweep:
    """Remembers since when each orphan is seen."""

    def __init__(
        self,
        is_used_up: Callable[[PodUid], bool],
        *,
        initial_delay: float = INITIAL_DELAY,
        grace: float = GRACE,
    ) -> None:
        self._is_used_up = is_used_up
        self._initial_delay = initial_delay
        self._grace = grace
        self._begun_at: float | None = None
        self._seen_since: dict[PodUid, float] = {}

    def due(self, orphans: Iterable[PodUid], now: float) -> list[PodUid]:
        """Take everything that has no row at this moment; return what may be removed."""
        self._begun_at = now if self._begun_at is None else self._begun_at
        self._seen_since = {uid: self._seen_since.get(uid, now) for uid in orphans}
        early = now < self._begun_at + self._initial_delay
        return [
            uid
            for uid, since in self._seen_since.items()
            if self._is_used_up(uid) or (not early and now >= since + self._grace)
        ]
