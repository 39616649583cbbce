"""The provider's log as a test reads it: JSON lines from a moment on."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from provider.clock import SystemClock
from provider.cluster.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.installation import Lab

Line = dict[str, Any]
CLOCK = SystemClock()


@dataclass
class ProviderLog:
    """What has been written since this was made."""

    path: Path
    start: int

    @classmethod
    def of(cls, lab: Lab) -> ProviderLog:
        """Begin at the end of what is there now."""
        path = lab.installation.provider.log
        return cls(path, path.stat().st_size if path.exists() else 0)

    def text(self) -> str:
        """All of it."""
        with self.path.open("rb") as file:
            file.seek(self.start)
            return file.read().decode()

    def lines(self, event: str | None = None) -> list[Line]:
        """The whole lines; what is no JSON object (a traceback to standard error) counts as an error line."""
        found: list[Line] = []
        for text in self.text().split("\n")[:-1]:
            try:
                line = json.loads(text)
            except ValueError:
                line = {"event": text, "level": "error"}
            found.append(line)
        return [line for line in found if event in (None, line["event"])]

    def errors(self) -> list[Line]:
        """Lines of level error, and every traceback."""
        return [line for line in self.lines() if line["level"] in ("error", "critical") or "exception" in line]

    async def until(self, holds: Callable[[list[Line]], object], seconds: float) -> None:
        """Wait until the lines are so."""
        if not await wait_until(CLOCK, lambda: bool(holds(self.lines())), seconds):
            raise TimeoutError(f"the provider has not said so after {seconds:.0f} s: {self.text()[-3000:]}")

    async def says(self, event: str, seconds: float = 30, **about: object) -> None:
        """Wait for an event with these keys."""
        await self.until(
            lambda lines: any(
                line["event"] == event and all(line.get(key) == value for key, value in about.items()) for line in lines
            ),
            seconds,
        )


def cpu_seconds(pid: int) -> float:
    """CPU time that a process has used (proc(5): utime, stime in ticks of 10 ms)."""
    with open(f"/proc/{pid}/stat", encoding="utf-8") as file:  # noqa: PTH123 - a proc file
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100
