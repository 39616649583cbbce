"""Commands in running containers."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from provider.cloud.backend import STDERR, STDOUT, ExecRequest, ExecSession
from provider.cloud.runtime.base import FaultKind, RunSpec, RuntimeFault, SandboxSpec
from provider.cloud.runtime.docker_engine.process_tree import kill_tree
from provider.cloud.runtime.docker_engine.runtime import DockerRuntime
from provider.model.ids import PodUid

pytestmark = pytest.mark.integration

UID = PodUid("u-1")
Specs = Callable[..., RunSpec]
Sandboxes = Callable[..., SandboxSpec]


@pytest.fixture
async def running(runtime: DockerRuntime, sandbox_spec: Sandboxes, shell: Specs) -> str:
    await runtime.create_sandbox(sandbox_spec())
    return (await runtime.start_container(shell("trap 'exit 0' TERM; while :; do sleep 0.1; done"))).container_id


async def start(runtime: DockerRuntime, script: str, **fields: bool) -> ExecSession:
    return await runtime.exec(UID, 0, ExecRequest(container="main", command=("sh", "-c", script), **fields))


async def everything(session: ExecSession) -> dict[int, bytes]:
    said = {STDOUT: b"", STDERR: b""}
    async for stream, data in session.output():
        said[stream] += data
    return said


async def test_output_and_exit_code(runtime: DockerRuntime, running: str) -> None:
    session = await start(runtime, "echo out; echo err >&2; exit 7")
    assert await everything(session) == {STDOUT: b"out\n", STDERR: b"err\n"}
    assert await session.wait() == 7
    await session.write(b"too late")
    await session.close_stdin()
    await session.resize(1, 1)
    await session.close()
    await session.close()


async def test_stdin_half_closed_while_output_goes_on(runtime: DockerRuntime, running: str) -> None:
    session = await start(runtime, "sort; echo end >&2", stdin=True)
    big = b"".join(b"%06d\n" % number for number in range(50_000, 0, -1))
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        reading = group.create_task(everything(session))
        await session.write(big)
        await session.close_stdin()
        await session.close_stdin()
    said = reading.result()
    assert said[STDOUT] == b"".join(b"%06d\n" % number for number in range(1, 50_001))
    assert said[STDERR] == b"end\n"
    assert await session.wait() == 0
    await session.close()


async def test_a_command_without_stdin_reads_nothing(runtime: DockerRuntime, running: str) -> None:
    session = await start(runtime, "cat; echo end")
    async with asyncio.timeout(30):
        assert (await everything(session))[STDOUT] == b"end\n"
    await session.close()


async def test_a_terminal(runtime: DockerRuntime, running: str) -> None:
    session = await start(runtime, "read x; stty size; tty >&2; echo $x", stdin=True, tty=True)
    await session.resize(99, 33)
    await session.write(b"typed\n")
    said = await everything(session)
    assert said[STDERR] == b""
    assert said[STDOUT].split() == [b"typed", b"33", b"99", b"/dev/pts/0", b"typed"]
    assert await session.wait() == 0
    await session.close()


async def test_a_command_that_is_not_there(runtime: DockerRuntime, running: str) -> None:
    session = await runtime.exec(UID, 0, ExecRequest(container="main", command=("nope",)))
    for act in (everything(session), session.wait()):
        with pytest.raises(RuntimeFault) as fault:
            await act
        assert fault.value.kind is FaultKind.START
    await session.close()


async def test_close_kills_what_still_runs_with_its_children(runtime: DockerRuntime, running: str) -> None:
    session = await start(runtime, "sleep 1001 & setsid sleep 1002 & echo $$; wait")
    assert await anext(aiter(session.output()))
    await session.close()
    async with asyncio.timeout(30):
        assert await session.wait() == 137
        check = await start(runtime, "while ps -o args | grep '^sleep 100[12]'; do sleep 0.05; done; echo gone")
        assert (await everything(check))[STDOUT].endswith(b"gone\n")
        await check.close()


async def test_only_a_process_of_the_container_is_killed(running: str) -> None:
    process = await asyncio.create_subprocess_exec("sleep", "600")
    try:
        assert not await asyncio.to_thread(kill_tree, process.pid, running)
        assert process.returncode is None
        assert Path(f"/proc/{process.pid}").exists()  # noqa: ASYNC240 - procfs does not block
    finally:
        process.kill()
        await process.wait()
    assert not await asyncio.to_thread(kill_tree, process.pid, running)


async def test_a_container_that_has_ended(runtime: DockerRuntime, running: str) -> None:
    session = await start(runtime, "echo begun; sleep 600")
    assert await anext(aiter(session.output())) == (STDOUT, b"begun\n")
    await runtime.stop_container(UID, "main", 0, 0)
    async with asyncio.timeout(30):
        assert await everything(session) == {STDOUT: b"", STDERR: b""}
        assert await session.wait() == 137
        await session.close()
    with pytest.raises(RuntimeFault, match="not running") as caught:
        await start(runtime, "true")
    assert caught.value.kind is FaultKind.START
    await runtime.remove_container(UID, "main", 0)
    with pytest.raises(RuntimeFault, match="No such container"):
        await start(runtime, "true")
