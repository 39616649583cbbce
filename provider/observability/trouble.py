"""Says once what is wrong, and once that it is over, however often the same thing fails in between."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Hashable

    from structlog.stdlib import BoundLogger

    from provider.clock import Clock


class Trouble:
    """One worker's trouble with one thing that it needs (API server, engine, port).

    `began(kind, ...)` at each failure: the first of a kind is a warning, its repetitions are told at debug level.
    `over()` at each success: the first after a failure is told, with how long it lasted.
    """

    def __init__(self, log: BoundLogger, clock: Clock, failed: str, mended: str, **about: Any) -> None:
        """Take the two events' names, and what both lines say about who is concerned."""
        self._log = log
        self._clock = clock
        self._failed = failed
        self._mended = mended
        self._about = about
        self._since: float | None = None
        self._kind: Hashable = None

    def began(self, kind: Hashable, **details: Any) -> None:
        """Take a failure; failures of one `kind` are the same trouble, whatever their text."""
        if self._since is not None and kind == self._kind:
            self._log.debug(self._failed, **self._about, **details)
            return
        if self._since is None:
            self._since = self._clock.now()
        self._kind = kind
        self._log.warning(self._failed, **self._about, **details)

    def over(self) -> None:
        """Take a success."""
        if self._since is not None:
            seconds = round(self._clock.now() - self._since, 1)
            self._since = self._kind = None
            self._log.info(self._mended, **self._about, after_seconds=seconds)
