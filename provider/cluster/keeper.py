"""The local cluster's keeper: starts again what is to be kept and has ended by itself. A process of its own.

A real cluster has systemd or the kubelet for that, and upstream counts on it: kube-scheduler, for one, ends itself when
the answer to a binding was lost with the API server ("Scheduler cache is corrupted", pkg/scheduler/backend/cache). What
ends again and again is started with longer and longer pauses.

Run it: `python -m provider.cluster.keeper DIRECTORY`, with the directory of pid and command files (processes.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import structlog

from provider.clock import SystemClock
from provider.cluster.processes import COMMAND_SUFFIX, Process
from provider.observability.logging import configure

if TYPE_CHECKING:
    from provider.clock import Clock

__all__ = ["KEEPER", "Keeper"]

log = structlog.get_logger(__name__)

KEEPER = "control-plane-keeper"
_LOOK_SECONDS = 1.0
_FIRST_SECONDS = 1.0
_LONGEST_SECONDS = 30.0
_CALM_SECONDS = 60.0
"""A process that ran this long begins again with the first pause."""


@dataclass
class _Ends:
    """Of one process: the pause before its next start, when that is due, and when it was started last."""

    pause: float = _FIRST_SECONDS
    due: float | None = None
    started: float = 0.0


class Keeper:
    """Keeps the processes of one directory that have a command file there."""

    def __init__(self, directory: Path, clock: Clock) -> None:
        self._directory = directory
        self._clock = clock
        self._ends: dict[str, _Ends] = {}
        self._children: set[int] = set()

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            self.look()
            await self._clock.sleep(_LOOK_SECONDS)

    def look(self) -> None:
        """Start again what has ended and whose pause is over."""
        self._reap()
        now = self._clock.now()
        for file in sorted(self._directory.glob(f"*{COMMAND_SUFFIX}")):
            process = Process(file.name.removesuffix(COMMAND_SUFFIX), self._directory)
            ends = self._ends.setdefault(process.name, _Ends())
            if process.pid() is not None:
                ends.due = None
            elif ends.due is None:
                if now - ends.started > _CALM_SECONDS:
                    ends.pause = _FIRST_SECONDS
                ends.due = now + ends.pause
                log.warning("process.ended", process=process.name, again_seconds=ends.pause, log=str(process.log))
            elif now >= ends.due:
                ends.due, ends.started, ends.pause = None, now, min(_LONGEST_SECONDS, ends.pause * 2)
                try:
                    started = process.start_again()
                except (OSError, msgspec.MsgspecError) as error:  # a full disk ends etcd, and passes: the pause grows
                    log.warning("process.not_started", process=process.name, error=str(error), log=str(process.log))
                    continue
                if started:
                    pid = process.pid()
                    self._children.update(() if pid is None else (pid,))
                    log.info("process.started", process=process.name, pid=pid)

    def _reap(self) -> None:
        """Take the ends of processes that this one started: until then they are zombies."""
        for pid in list(self._children):
            with contextlib.suppress(ChildProcessError):
                if os.waitpid(pid, os.WNOHANG)[0] == 0:
                    continue
            self._children.discard(pid)


async def _keep(directory: Path) -> None:
    this = asyncio.current_task()
    assert this is not None  # noqa: S101 - we are in one
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, this.cancel)
    try:
        await Keeper(directory, SystemClock()).run()
    except asyncio.CancelledError:
        log.info("keeper.ends")


def main() -> None:
    """Keep the directory's processes until SIGTERM; they go on without their keeper."""
    configure()
    asyncio.run(_keep(Path(sys.argv[1])))


if __name__ == "__main__":
    main()
