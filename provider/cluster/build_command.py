"""One external command of the set-up: written to a log, bounded in time, ended together with all it started.

A command that fails raises `BuildError`, which says what happened, why (the last lines of the output) and what to do.
"""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING

from provider.cluster.termination import end_if_asked

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path


_TICK = 2.0
_TAIL = 12


class BuildError(Exception):
    """A step of the set-up that failed: what happened, why, what to do next, and the log to read."""

    def __init__(self, what: str, why: str, next_step: str, log: Path | None = None) -> None:
        parts = [what, f"why: {why}", f"next: {next_step}"]
        if log is not None:
            parts.append(f"log: {log}")
        super().__init__("\n".join(parts))
        self.what = what
        self.why = why
        self.next_step = next_step
        self.log = log


def run(
    argv: Sequence[str],
    *,
    what: str,
    log: Path,
    timeout: float,
    next_step: str,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    tick: Callable[[], None] | None = None,
) -> None:
    """Run `argv` with its output appended to `log`; call `tick` every two seconds; raise BuildError if it fails."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        output.write(f"$ {' '.join(argv)}\n".encode())
        output.flush()
        try:
            process = subprocess.Popen(
                list(argv),
                cwd=cwd,
                env=None if env is None else dict(env),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise BuildError(f"{what} did not start", str(error), next_step, log) from error
        code = _wait(process, timeout, tick)
    if code is None:
        raise BuildError(f"{what} took longer than {timeout / 60:.0f} minutes and was ended", tail(log), next_step, log)
    if code != 0:
        raise BuildError(f"{what} failed with exit code {code}", tail(log), next_step, log)


def capture(
    argv: Sequence[str],
    *,
    what: str,
    timeout: float,
    next_step: str,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> str:
    """Run `argv` and return its standard output; raise BuildError with its standard error if it fails."""
    try:
        done = subprocess.run(
            list(argv),
            cwd=cwd,
            env=None if env is None else dict(env),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=True,
        )
    except subprocess.CalledProcessError as error:
        lines = f"{error.stdout}\n{error.stderr}".strip().splitlines()
        raise BuildError(f"{what} failed with exit code {error.returncode}", _last(lines), next_step) from error
    except subprocess.TimeoutExpired as error:
        raise BuildError(f"{what} took longer than {timeout:.0f} s and was ended", str(error), next_step) from error
    except OSError as error:
        raise BuildError(f"{what} did not start", str(error), next_step) from error
    return done.stdout


def tail(log: Path) -> str:
    """Return the last lines of a log, the part that says why."""
    return _last(log.read_text(errors="replace").splitlines())


def _last(lines: list[str]) -> str:
    return "\n".join(lines[-_TAIL:]) or "(it printed nothing)"


def _wait(process: subprocess.Popen[bytes], timeout: float, tick: Callable[[], None] | None) -> int | None:
    """Wait for the exit code; None if the time is over. Whatever ends the wait ends the process group too."""
    waited = 0.0
    try:
        while waited < timeout:
            step = min(_TICK, timeout - waited)
            try:
                return process.wait(timeout=step)
            except subprocess.TimeoutExpired:
                waited += step
                end_if_asked()
                if tick is not None:
                    tick()
        return None
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
