"""Real processes; the keeper's own time is a clock of the test's."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from provider.clock import SystemClock
from provider.cluster.keeper import Keeper
from provider.cluster.processes import Process, wait_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class HandClock(SystemClock):
    """Its time is what the test says."""

    time = 1000.0

    def now(self) -> float:
        """Return the test's time."""
        return self.time


@pytest.fixture
async def process(tmp_path: Path) -> AsyncIterator[Process]:
    process = Process("sleeper", tmp_path / "run")
    yield process
    await process.stop(SystemClock())


def environment_of(process: Process) -> bytes:
    return Path(f"/proc/{process.pid()}/environ").read_bytes()


async def killed(process: Process) -> int:
    pid = process.pid()
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    assert await wait_until(SystemClock(), lambda: process.pid() is None, 10)
    return pid


async def test_what_ends_by_itself_is_started_again_after_a_pause_that_grows(process: Process) -> None:
    process.start(["sleep", "60"], {"NAME": "kept"}, kept=True)
    clock = HandClock()
    keeper = Keeper(process.directory, clock)
    keeper.look()
    pids = []
    for pause in (1.0, 2.0, 4.0):
        pids.append(await killed(process))
        keeper.look()
        clock.time += pause - 0.1
        keeper.look()
        assert process.pid() is None
        clock.time += 0.2
        keeper.look()
        pids.append(process.pid())
    assert None not in pids
    assert len(set(pids)) == 4  # killed and started in turn
    assert environment_of(process) == b"NAME=kept\0"


async def test_what_has_run_for_long_is_started_again_soon(process: Process) -> None:
    process.start(["sleep", "60"], kept=True)
    clock = HandClock()
    keeper = Keeper(process.directory, clock)
    for _ in range(4):
        await killed(process)
        keeper.look()
        clock.time += 30.0
        keeper.look()
    await killed(process)
    clock.time += 61.0
    keeper.look()
    clock.time += 1.1
    keeper.look()
    assert process.pid() is not None


async def test_what_cannot_be_started_is_tried_again_later(process: Process, tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o755)
    process.start([str(program)], kept=True)
    clock = HandClock()
    keeper = Keeper(process.directory, clock)
    await killed(process)
    program.rename(tmp_path / "away")
    for _ in range(4):
        keeper.look()
        clock.time += 5.0
    assert process.pid() is None
    (tmp_path / "away").rename(program)
    for _ in range(2):
        clock.time += 31.0
        keeper.look()
    assert process.pid() is not None


async def test_what_was_stopped_or_is_not_to_be_kept_stays_away(process: Process) -> None:
    clock = HandClock()
    keeper = Keeper(process.directory, clock)
    process.start(["sleep", "60"])
    await killed(process)
    process.start(["sleep", "60"], kept=True)
    await process.stop(SystemClock())
    process.start(["sleep", "60"], kept=True)
    process.let_go()
    await killed(process)
    keeper.look()
    clock.time += 10.0
    keeper.look()
    assert process.pid() is None
    assert not process.start_again()
