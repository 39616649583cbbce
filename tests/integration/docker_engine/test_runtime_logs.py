"""Logs with the kubelet's options, of containers that run and that have ended."""

import asyncio
import re
from collections.abc import Awaitable, Callable

import pytest

from provider.cloud.backend import LogOptions
from provider.cloud.runtime.base import RunSpec, SandboxSpec, SeenContainer
from provider.cloud.runtime.docker_engine.runtime import DockerRuntime
from provider.model.ids import PodUid

pytestmark = pytest.mark.integration

UID = PodUid("u-1")
STAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z"
Specs = Callable[..., RunSpec]
Sandboxes = Callable[..., SandboxSpec]
Ended = Callable[..., Awaitable[SeenContainer]]
Output = Callable[..., Awaitable[str]]


async def test_options(
    runtime: DockerRuntime, sandbox_spec: Sandboxes, shell: Specs, ended: Ended, output: Output
) -> None:
    await runtime.create_sandbox(sandbox_spec())
    await runtime.start_container(shell("for i in 1 2 3; do echo line $i; done; echo error >&2; echo -n end"))
    end = await ended()
    whole = await output()
    assert sorted(whole.splitlines()) == ["end", "error", "line 1", "line 2", "line 3"]
    assert await output(follow=True) == whole
    assert await output(tail=0) == ""
    assert await output(tail=0, follow=True) == ""
    assert len((await output(tail=2)).splitlines()) == 2
    assert await output(tail=1000) == whole
    assert await output(limit_bytes=9) == whole[:9]
    assert await output(limit_bytes=0) == ""
    assert await output(limit_bytes=10_000) == whole
    assert end.started_at is not None
    assert await output(since=end.started_at - 1) == whole
    assert await output(since=end.started_at + 60) == ""
    stamped = (await output(timestamps=True)).splitlines()
    assert all(re.fullmatch(rf"{STAMP} (line \d|error|end)", line) for line in stamped)
    assert re.fullmatch(STAMP, await output(timestamps=True, limit_bytes=30))
    stamps = sorted(line.split(" ")[0] for line in stamped)
    second = re.sub(r"\.\d+Z", "Z", stamps[0])
    assert second[:10] == stamps[0][:10]


async def test_since_is_exact_to_less_than_a_millisecond(
    runtime: DockerRuntime, sandbox_spec: Sandboxes, shell: Specs, ended: Ended, output: Output
) -> None:
    from provider.cloud.runtime.docker_engine.states import engine_time

    await runtime.create_sandbox(sandbox_spec())
    await runtime.start_container(shell("echo one; sleep 0.05; echo two"))
    await ended()
    stamped = (await output(timestamps=True)).splitlines()
    second = engine_time(stamped[1].split(" ")[0])
    assert second is not None
    assert await output(since=second - 0.001) == "two\n"
    assert await output(since=second + 0.001) == ""


async def test_following_ends_with_the_container(runtime: DockerRuntime, sandbox_spec: Sandboxes, shell: Specs) -> None:
    await runtime.create_sandbox(sandbox_spec())
    await runtime.start_container(shell("trap 'echo bye; exit 0' TERM; echo hello; while :; do sleep 0.05; done"))
    said = b""
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        async for data in runtime.logs(UID, "main", 0, LogOptions(follow=True)):
            if not said:
                group.create_task(runtime.stop_container(UID, "main", 0, 30))
            said += data
    assert said == b"hello\nbye\n"


async def test_a_follower_that_leaves_gives_its_connection_back(
    runtime: DockerRuntime, sandbox_spec: Sandboxes, shell: Specs
) -> None:
    await runtime.create_sandbox(sandbox_spec())
    await runtime.start_container(shell("while :; do echo tick; sleep 0.01; done"))
    for _ in range(3):
        logs = runtime.logs(UID, "main", 0, LogOptions(follow=True, tail=1))
        assert b"tick" in await anext(logs)
        await logs.aclose()
    assert len(runtime._client.session.connector._acquired) == 0  # type: ignore[union-attr]


@pytest.mark.parametrize("tty", [False, True])
async def test_long_lines_are_one_line(
    runtime: DockerRuntime, sandbox_spec: Sandboxes, shell: Specs, ended: Ended, output: Output, tty: bool
) -> None:
    await runtime.create_sandbox(sandbox_spec())
    script = "stty -onlcr 2>/dev/null; head -c 40000 /dev/zero | tr '\\0' x; echo; echo after"
    await runtime.start_container(shell(script, tty=tty))
    await ended()
    assert await output() == "x" * 40000 + "\nafter\n"
    first, second = (await output(timestamps=True)).splitlines()
    assert re.fullmatch(f"{STAMP} x{{40000}}", first)
    assert re.fullmatch(f"{STAMP} after", second)


async def test_logs_outlive_the_sandbox_and_go_with_the_attempt(
    runtime: DockerRuntime, sandbox_spec: Sandboxes, shell: Specs, ended: Ended, output: Output
) -> None:
    await runtime.create_sandbox(sandbox_spec())
    for attempt in (0, 1):
        await runtime.start_container(shell(f"echo attempt {attempt}", attempt=attempt))
        await ended(attempt=attempt)
    await runtime.release_sandbox(UID)
    assert [await output(attempt=attempt) for attempt in (0, 1)] == ["attempt 0\n", "attempt 1\n"]
    await runtime.remove_container(UID, "main", 0)
    assert [await output(attempt=attempt) for attempt in (0, 1)] == ["", "attempt 1\n"]
