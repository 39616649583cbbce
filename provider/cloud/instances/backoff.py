"""How long a container waits before it is started again: 10 s, doubling to 300 s, forgotten after 10 min. Pure.

Upstream: kuberuntime_manager.go doBackOff over client-go util/flowcontrol/backoff.go. What counts is the end of the
newest attempt that had ended when the restart was decided. A container that a probe kills is started again in the same
breath as it is killed, so for it that is the attempt before; its first such restart neither waits nor counts.
"""

from __future__ import annotations

INITIAL_BACKOFF = 10.0
LONGEST_BACKOFF = 300.0
BACKOFF_RESET = 600.0
"""Twice the longest back-off without a restart forgets the history."""


class RestartBackoff:
    """The back-off of one container. Times in seconds since the epoch."""

    __slots__ = ("counted", "event", "seconds", "updated")

    def __init__(self) -> None:
        self.seconds = 0.0
        self.updated = 0.0
        self.counted = 0
        """the newest attempt whose start has lengthened it"""
        self.event: float | None = None
        """the end that the next start counts from; None: it counts nothing."""

    def wait(self, finished: float, before: float | None, *, killed: bool) -> float:
        """Return how long to wait after an attempt that ended at `finished`, 0: start at once.

        `before` is when the attempt before it ended; `killed`: a probe has ended this one.
        """
        since = before if killed else finished
        self.event = since
        if since is None or since - self.updated > BACKOFF_RESET or finished - since >= self.seconds:
            return 0.0
        self.event = finished
        return self.seconds

    def count(self, attempt: int, now: float) -> None:
        """Lengthen it at the start of a later attempt."""
        if attempt <= self.counted:
            return
        self.counted = attempt
        if self.event is None:
            return
        forgotten = self.event - self.updated > BACKOFF_RESET
        self.seconds = INITIAL_BACKOFF if forgotten else min(max(INITIAL_BACKOFF, self.seconds * 2), LONGEST_BACKOFF)
        self.updated = now
