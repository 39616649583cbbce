"""The end of a session whose command the engine has only begun to know."""

from __future__ import annotations

import asyncio
import signal
from typing import Any

from provider.clock import SystemClock
from provider.cloud.runtime.docker_engine.exec_session import DockerExec


class LateExec:
    """An exec of which the engine tells that it runs a while before it knows the process (its output may be there)."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._looks = 0

    async def inspect(self) -> dict[str, Any]:
        self._looks += 1
        pid = self._process.pid if self._looks > 3 else 0
        return {"Running": True, "ExitCode": None, "Pid": pid, "ContainerID": "/"}  # a cgroup's path has that


class NoStream:
    closed = False

    async def close(self) -> None:
        return


async def test_a_command_whose_process_the_engine_does_not_tell_yet_is_killed_all_the_same() -> None:
    process = await asyncio.create_subprocess_exec("sleep", "600", start_new_session=True)
    made: Any = LateExec(process)
    stream: Any = NoStream()
    try:
        await DockerExec(made, stream, SystemClock()).close()
        async with asyncio.timeout(10):
            assert await process.wait() == -signal.SIGKILL
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
