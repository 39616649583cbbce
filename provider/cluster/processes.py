"""Processes that outlive the command that starts them: a pid file, a log, and a way to end them.

A pid is used again by the kernel, so the pid file also keeps the process's start time (proc(5), stat field 22, in
clock ticks since boot): a process is ours only when both agree.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import provider
from provider.cluster.build_command import tail
from provider.cluster.steps import SetupError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from provider.clock import Clock

__all__ = ["Process", "python_module", "start_time", "wait_until"]

_POLL_SECONDS = 0.2


@dataclass(frozen=True)
class Process:
    """One detached process below `directory`: `<name>.pid` and `<name>.log`."""

    name: str
    directory: Path

    @property
    def pid_file(self) -> Path:
        """Return the file with pid and start time."""
        return self.directory / f"{self.name}.pid"

    @property
    def log(self) -> Path:
        """Return the file that has the process's output."""
        return self.directory / f"{self.name}.log"

    def pid(self) -> int | None:
        """Return the pid of the running process, or None when it has ended or the pid is another's now."""
        try:
            pid, started = self.pid_file.read_text().split()
        except (FileNotFoundError, ValueError):
            return None
        return int(pid) if start_time(int(pid)) == int(started) else None

    def started(self) -> float | None:
        """Return when `start` started the process, in seconds since the epoch; None when it does not run."""
        return None if self.pid() is None else self.pid_file.stat().st_mtime

    def start(self, argv: Sequence[str], env: Mapping[str, str] | None = None) -> bool:
        """Start the process in a session of its own unless it runs; return whether it was started."""
        if self.pid() is not None:
            return False
        self.directory.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            child = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=None if env is None else dict(env),
            )
        self.pid_file.write_text(f"{child.pid} {start_time(child.pid) or 0}\n")
        child.returncode = 0  # it is meant to outlive us: no warning when the object goes
        return True

    async def stop(self, clock: Clock, grace: float = 20.0) -> bool:
        """Ask the process to end, force it after `grace` seconds; return whether there was one."""
        pid = self.pid()
        if pid is not None:
            _signal(pid, signal.SIGTERM)
            if not await wait_until(clock, lambda: self._ended(pid), grace):
                _signal(pid, signal.SIGKILL)
                await wait_until(clock, lambda: self._ended(pid), grace)
        self.pid_file.unlink(missing_ok=True)
        return pid is not None

    async def ready(self, clock: Clock, condition: Callable[[], bool], seconds: float) -> None:
        """Wait until `condition` holds; SetupError when the process ends before, or the time does."""
        await wait_until(clock, lambda: self.pid() is None or condition(), seconds)
        if self.pid() is None:
            raise SetupError(f"{self.name} ended while starting", tail(self.log), f"read {self.log}")
        if not condition():
            raise SetupError(f"{self.name} did not become ready in {seconds:.0f} s", tail(self.log), f"read {self.log}")

    def _ended(self, pid: int) -> bool:
        with contextlib.suppress(ChildProcessError):  # not our child: init reaps it
            os.waitpid(pid, os.WNOHANG)
        return self.pid() is None


def start_time(pid: int) -> int | None:
    """Return when the process started, in clock ticks since boot; None when there is none or it is a zombie."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as stat:  # noqa: PTH123 - a proc file
            text = stat.read()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text.rpartition(")")[2].split()  # the name before it may hold anything
    return None if fields[0] in "ZX" else int(fields[19])


async def wait_until(clock: Clock, condition: Callable[[], bool], seconds: float) -> bool:
    """Look until `condition` holds or `seconds` have passed; return whether it held."""
    deadline = clock.now() + seconds
    while not condition():
        if clock.now() >= deadline:
            return False
        await clock.sleep(_POLL_SECONDS)
    return True


def python_module(module: str, *arguments: str) -> tuple[list[str], dict[str, str]]:
    """Return argv and environment to run a module of this very package, wherever the caller stands."""
    root = str(Path(provider.__file__).parent.parent)
    return [sys.executable, "-P", "-m", module, *arguments], {**os.environ, "PYTHONPATH": root}


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):  # it ended by itself
        os.kill(pid, number)
