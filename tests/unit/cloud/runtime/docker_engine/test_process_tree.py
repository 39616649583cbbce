"""Which processes go with one, and that they go; a process group's cgroup path holds a slash, so "/" is any container."""

from __future__ import annotations

import asyncio
import os
import signal

from provider.clock import SystemClock
from provider.cloud.runtime.docker_engine.process_tree import kill_tree, members

TABLE = {
    1: (0, 1),
    10: (1, 10),  # the root: leads its session
    11: (10, 10),
    12: (1, 10),  # its parent has ended, its session tells
    13: (11, 13),  # a session of its own, its parents tell
    14: (13, 13),
    15: (1, 15),
    20: (15, 20),
}


def test_its_session_and_its_descendants_belong_to_a_process() -> None:
    assert members({10}, TABLE) == {10, 11, 12, 13, 14}
    assert members({99}, TABLE) == set()
    assert members({15}, TABLE) == {15, 20}


async def test_a_process_goes_with_all_that_it_has_started() -> None:
    script = "setsid sh -c 'echo $$; exec sleep 600' & sh -c 'echo $$; exec sleep 601' & wait"
    process = await asyncio.create_subprocess_exec(
        "sh", "-c", script, start_new_session=True, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout
    try:
        async with asyncio.timeout(20):
            pids = [int(await process.stdout.readline()) for _ in range(2)]
            assert not kill_tree(process.pid, "no container has this ID")
            assert kill_tree(process.pid, "/")
            assert await process.wait() == -signal.SIGKILL
            while any(_runs(pid) for pid in pids):
                await SystemClock().sleep(0.01)
        assert not kill_tree(process.pid, "/")
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


def _runs(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:  # noqa: PTH123 - a line of /proc
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
