from __future__ import annotations

import os
import sys
from pathlib import Path

from provider.clock import SystemClock
from provider.cluster.processes import Process, start_time, wait_until


async def test_a_process_is_started_once_and_stopped(tmp_path: Path) -> None:
    process = Process("sleeper", tmp_path)
    assert process.start(["sleep", "60"])
    pid = process.pid()
    assert pid is not None
    assert not process.start(["sleep", "60"])
    assert process.pid() == pid
    assert await process.stop(SystemClock())
    assert start_time(pid) is None
    assert not process.pid_file.exists()


async def test_a_pid_that_another_process_has_now_is_not_ours(tmp_path: Path) -> None:
    process = Process("other", tmp_path)
    process.pid_file.write_text(f"{os.getpid()} 1\n")
    assert process.pid() is None
    assert not await process.stop(SystemClock())  # and this test process lives on


async def test_a_process_whose_first_thread_has_ended_is_there_until_the_last_one_has(tmp_path: Path) -> None:
    """As one that was just killed: the next one could not have its port yet."""
    script = (
        "import ctypes, threading; threading.Thread(target=threading.Event().wait).start(); "
        "ctypes.CDLL(None).pthread_exit(None)"
    )
    process = Process("threads", tmp_path)
    assert process.start([sys.executable, "-c", script])
    pid = process.pid()
    assert pid is not None
    assert await wait_until(SystemClock(), lambda: " (zombie)" in status_of(pid), 20)
    assert process.pid() == pid
    assert await process.stop(SystemClock(), grace=0)
    assert start_time(pid) is None


def status_of(pid: int) -> str:
    return Path(f"/proc/{pid}/status").read_text()


async def test_waiting_ends_when_the_condition_never_holds() -> None:
    assert not await wait_until(SystemClock(), lambda: False, 0)
