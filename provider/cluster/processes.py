"""Processes that outlive the command that starts them: a pid file, a log, and a way to end them.

A pid is used again by the kernel, so the pid file also keeps the process's start time (proc(5), stat field 22, in
clock ticks since boot): a process is ours only when both agree.

A process that was started to be kept has its command in a file beside its pid: the keeper (keeper.py) starts it again
when it ends by itself. `stop` takes that file away first.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

import provider
from provider.cluster.build_command import tail
from provider.cluster.steps import SetupError
from provider.cluster.whole_file import write_whole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from provider.clock import Clock

__all__ = ["COMMAND_SUFFIX", "Process", "python_module", "start_time", "wait_until"]

COMMAND_SUFFIX = ".command.json"
_POLL_SECONDS = 0.2
_KILLED_SECONDS = 20.0


class Command(msgspec.Struct, frozen=True):
    """What a kept process is started by; without an environment it has that of who starts it."""

    argv: tuple[str, ...]
    env: dict[str, str] | None = None


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

    @property
    def command_file(self) -> Path:
        """Return the file with argv and environment of a process that is to be kept."""
        return self.directory / f"{self.name}{COMMAND_SUFFIX}"

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

    def start(self, argv: Sequence[str], env: Mapping[str, str] | None = None, *, kept: bool = False) -> bool:
        """Start the process in a session of its own unless it runs; return whether it was started.

        `kept`: it is to be started again when it ends by itself, by the keeper of its directory.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        with self._turn():
            if kept:
                write_whole(
                    self.command_file, msgspec.json.encode(Command(tuple(argv), None if env is None else dict(env)))
                )
            return self._start(argv, env)

    def start_again(self) -> bool:
        """Start a process that is to be kept and has ended; return whether it was started."""
        with self._turn():
            try:
                command = msgspec.json.decode(self.command_file.read_bytes(), type=Command)
            except FileNotFoundError:  # it has been stopped meanwhile
                return False
            return self._start(command.argv, command.env)

    def let_go(self) -> None:
        """Keep it no longer: when it ends now, it has ended."""
        with self._turn():
            self.command_file.unlink(missing_ok=True)

    def _start(self, argv: Sequence[str], env: Mapping[str, str] | None) -> bool:
        if self.pid() is not None:
            return False
        with self.log.open("ab") as log:
            child = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=None if env is None else dict(env),
            )
        try:
            write_whole(self.pid_file, f"{child.pid} {start_time(child.pid) or 0}\n".encode())
        except OSError:  # one that nobody knows of would be in the way of every later one
            child.kill()
            child.wait()
            raise
        child.returncode = 0  # it is meant to outlive us: no warning when the object goes
        return True

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        """Be the only one that starts the process: `up` and the keeper may want to at the same moment."""
        if not self.directory.exists():
            yield
            return
        with self.directory.joinpath(f"{self.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    async def stop(self, clock: Clock, grace: float = 20.0) -> bool:
        """Ask the process to end, force it after `grace` seconds; return whether there was one."""
        self.let_go()
        pid = self.pid()
        if pid is not None:
            _signal(pid, signal.SIGTERM)
            if not await wait_until(clock, lambda: self._ended(pid), grace):
                _signal(pid, signal.SIGKILL)
                await wait_until(clock, lambda: self._ended(pid), _KILLED_SECONDS)
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
    """Return when the process started, in clock ticks since boot; None when there is none or it is a zombie.

    A killed process whose first thread is a zombie is there until its last thread has gone: it still has its ports.
    """
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as stat:  # noqa: PTH123 - a proc file
            text = stat.read()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text.rpartition(")")[2].split()  # the name before it may hold anything
    return None if fields[0] in "ZX" and not _other_threads(pid) else int(fields[19])


def _other_threads(pid: int) -> bool:
    try:
        return len(os.listdir(f"/proc/{pid}/task")) > 1  # noqa: PTH208 - a proc directory
    except (FileNotFoundError, ProcessLookupError):
        return False


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
