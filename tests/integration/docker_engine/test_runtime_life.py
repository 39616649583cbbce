"""The life of an instance on a real engine, told by relist and inspect only."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiodocker import Docker

from provider.cloud.backend import LogOptions
from provider.cloud.runtime.base import FaultKind, RunSpec, RuntimeFault, SandboxSpec, Seen, SeenContainer
from provider.cloud.runtime.docker_engine.cgroups import child_names, host_hierarchies
from provider.cloud.runtime.docker_engine.engine import Engine
from provider.cloud.runtime.docker_engine.host_mounts import mounts_below
from provider.cloud.runtime.docker_engine.runtime import DockerRuntime
from provider.model.ids import PodUid
from provider.model.request import SecurityContext
from provider.model.volume import EmptyDirVolume, FileEntry, FilesVolume

pytestmark = pytest.mark.integration

ALL_CAPABILITIES = "CapBnd:\t000001ffffffffff" in Path("/proc/self/status").read_text()
UID = PodUid("u-1")
Specs = Callable[..., RunSpec]
Sandboxes = Callable[..., SandboxSpec]
Ended = Callable[..., Awaitable[SeenContainer]]
Output = Callable[..., Awaitable[str]]


async def seen(runtime: DockerRuntime, uid: PodUid = UID) -> Seen:
    found = await runtime.inspect(uid)
    assert found is not None
    return found


async def test_from_the_sandbox_to_the_last_trace(
    ended: Ended, runtime: DockerRuntime, installation: str, sandbox_spec: Sandboxes, shell: Specs, tmp_path: Path
) -> None:
    volumes = (EmptyDirVolume("tmp", memory=True), FilesVolume("cfg", (FileEntry("a", b"1"),)))
    spec = sandbox_spec(volumes=volumes, labels=(("pod", "p"),))
    await runtime.create_sandbox(spec)
    await runtime.create_sandbox(spec)
    there = await seen(runtime)
    assert (there.sandbox_running, there.address, there.zone, there.containers) == (True, spec.address, "zone-a", ())
    started = await runtime.start_container(shell(f"ip -4 addr | grep -q {spec.address}/24 && exit 7"))
    assert started.container_id
    end = await ended()
    assert (end.exit_code, end.oom_killed, end.message, end.image) == (7, False, "", "busybox:latest")
    assert end.started_at is not None
    assert end.finished_at is not None
    assert end.started_at <= end.finished_at
    assert end.image_id.startswith("sha256:")
    assert await runtime.start_container(shell("exit 9")) == end, "an attempt that has run is not run again"
    await runtime.release_sandbox(UID)
    await runtime.release_sandbox(UID)
    there = await seen(runtime)
    assert (there.sandbox_exists, there.address, there.leftovers) == (False, None, False)
    assert there.containers == (end,)
    assert mounts_below(tmp_path) == []
    assert child_names(host_hierarchies(), f"zonelet-{installation}") == []
    await runtime.remove_instance(UID)
    await runtime.remove_instance(UID)
    assert await runtime.inspect(UID) is None
    assert await runtime.relist() == []
    assert list((tmp_path / "instances").iterdir()) == []


async def test_what_an_earlier_process_made_is_found(
    ended: Ended, make_runtime: Callable[..., Any], sandbox_spec: Sandboxes, shell: Specs
) -> None:
    first: DockerRuntime = await make_runtime()
    await first.create_sandbox(sandbox_spec())
    running = await first.start_container(shell("sleep 600", name="long"))
    await first.start_container(shell("echo last words > /dev/termination-log; exit 3"))
    end = await ended()
    second: DockerRuntime = await make_runtime()
    (found,) = await second.relist()
    assert found.uid == UID
    assert {one.name: one for one in found.containers} == {"long": running, "main": end}
    assert end.message == "last words\n"
    await second.create_sandbox(sandbox_spec())
    assert await second.start_container(shell("sleep 600", name="long")) == running
    assert (await seen(second)).sandbox_id == found.sandbox_id


async def test_a_container_that_was_only_created_is_started(
    runtime: DockerRuntime, client: Docker, installation: str, sandbox_spec: Sandboxes, shell: Specs
) -> None:
    await runtime.create_sandbox(sandbox_spec())
    spec = shell("sleep 600", mounts=())
    running = await runtime.start_container(spec)
    config = await Engine(client, installation).inspect(running.container_id.removeprefix("docker://"))
    assert config is not None
    await runtime.remove_container(UID, "main", 0)
    created = {key: config["Config"][key] for key in ("Image", "Cmd", "Entrypoint", "Labels")}
    made = await Engine(client, installation).create(config["Name"][1:], created)
    (only,) = (await seen(runtime)).containers
    assert (only.running, only.exited, only.started_at) == (False, False, None)
    again = await runtime.start_container(spec)
    assert (again.container_id, again.running) == (f"docker://{made}", True)


async def test_leftovers_are_told_and_removed(
    runtime: DockerRuntime, client: Docker, installation: str, sandbox_spec: Sandboxes
) -> None:
    await runtime.create_sandbox(sandbox_spec())
    await Engine(client, installation).remove((await seen(runtime)).sandbox_id)
    (left,) = await runtime.relist()
    assert (left.uid, left.zone, left.leftovers, left.sandbox_exists) == (UID, "zone-a", True, False)
    assert await runtime.inspect(UID) == left
    await runtime.remove_instance(UID)
    assert await runtime.relist() == []


async def test_an_end_that_the_list_does_not_know_yet_is_seen(
    ended: Ended, runtime: DockerRuntime, sandbox_spec: Sandboxes, shell: Specs
) -> None:
    await runtime.create_sandbox(sandbox_spec())
    await asyncio.gather(*(runtime.start_container(shell("exit 1", name=f"c{number}")) for number in range(4)))
    for number in range(4):
        assert (await ended(f"c{number}")).exit_code == 1


@pytest.mark.parametrize(
    ("command", "text"),
    [(("/no/such",), "no such file or directory"), (("nope",), "executable file not found"), (("/etc",), "denied")],
)
async def test_a_program_that_cannot_start(
    runtime: DockerRuntime, sandbox_spec: Sandboxes, run_spec: Specs, command: tuple[str, ...], text: str
) -> None:
    await runtime.create_sandbox(sandbox_spec())
    with pytest.raises(RuntimeFault, match=text) as caught:
        await runtime.start_container(run_spec(*command))
    assert caught.value.kind is FaultKind.START
    (only,) = (await seen(runtime)).containers
    assert (only.exited, only.exit_code, only.started_at, only.finished_at) == (True, 128, None, None)
    assert text in only.error
    assert await runtime.start_container(run_spec(*command)) == only, "it is not tried a second time"


@pytest.mark.parametrize(
    ("command", "given", "text"),
    [
        (("",), {}, "No command specified"),
        (("true",), {"working_dir": "/bin/busybox"}, "is not a directory"),
        (("true",), {"working_dir": "relative"}, "needs to be an absolute path"),
    ],
)
async def test_what_docker_refuses_to_create_could_not_have_started(
    runtime: DockerRuntime,
    sandbox_spec: Sandboxes,
    run_spec: Specs,
    command: tuple[str, ...],
    given: dict[str, Any],
    text: str,
) -> None:
    await runtime.create_sandbox(sandbox_spec())
    with pytest.raises(RuntimeFault, match=text) as caught:
        await runtime.start_container(run_spec(*command, **given))
    assert caught.value.kind is FaultKind.START


async def test_an_image_that_is_gone(runtime: DockerRuntime, sandbox_spec: Sandboxes, run_spec: Specs) -> None:
    await runtime.create_sandbox(sandbox_spec())
    spec = run_spec("true")
    absent = RunSpec(uid=spec.uid, zone=spec.zone, attempt=0, container=spec.container, image_id="sha256:" + "0" * 64)
    with pytest.raises(RuntimeFault, match="No such image") as caught:
        await runtime.start_container(absent)
    assert caught.value.kind is FaultKind.CREATE


async def test_privileged_is_refused_clearly_where_the_host_does_not_allow_it(
    runtime: DockerRuntime, sandbox_spec: Sandboxes, shell: Specs
) -> None:
    """Test machines lack CAP_SYS_RESOURCE; elsewhere the container runs."""
    await runtime.create_sandbox(sandbox_spec())
    spec = shell("sleep 600", security=SecurityContext(privileged=True))
    if ALL_CAPABILITIES:
        assert (await runtime.start_container(spec)).running
        return
    refusal = "container main asks to be privileged, and the engine's host does not let it: .*caps"
    with pytest.raises(RuntimeFault, match=refusal) as caught:
        await runtime.start_container(spec)
    assert caught.value.kind is FaultKind.START


async def test_stop_ends_by_the_signal_or_by_force(
    ended: Ended, runtime: DockerRuntime, sandbox_spec: Sandboxes, shell: Specs
) -> None:
    await runtime.create_sandbox(sandbox_spec())
    await runtime.start_container(shell("trap 'exit 5' TERM; while :; do sleep 0.1; done"))
    await runtime.start_container(shell("trap '' TERM; while :; do sleep 0.1; done", name="deaf"))
    await runtime.stop_container(UID, "main", 0, 30)
    assert (await ended()).exit_code == 5
    await runtime.stop_container(UID, "deaf", 0, 0.5)
    assert (await ended("deaf")).exit_code == 137
    await runtime.stop_container(UID, "main", 0, 30)
    await runtime.stop_container(UID, "unknown", 0, 30)


@pytest.mark.parametrize("shorter", [0.0, 0.5])
async def test_a_second_stop_hastens_the_first(
    output: Output, ended: Ended, runtime: DockerRuntime, sandbox_spec: Sandboxes, shell: Specs, shorter: float
) -> None:
    await runtime.create_sandbox(sandbox_spec())
    await runtime.start_container(
        shell("n=0; trap 'n=$((n+1)); echo $n' TERM; echo ready; while :; do sleep 0.1; done")
    )
    await _until(runtime, "ready")
    async with asyncio.timeout(15), asyncio.TaskGroup() as group:
        group.create_task(runtime.stop_container(UID, "main", 0, 60))
        await _until(runtime, "1")
        await runtime.stop_container(UID, "main", 0, shorter)
    assert (await ended()).exit_code == 137
    assert await output() == "ready\n1\n", "the stop signal is sent once"


async def _until(runtime: DockerRuntime, line: str) -> None:
    async for data in runtime.logs(UID, "main", 0, LogOptions(follow=True)):
        if line in data.decode().splitlines():
            return


async def test_hints_survive_a_broken_connection(
    ended: Ended, runtime: DockerRuntime, sandbox_spec: Sandboxes, shell: Specs
) -> None:
    await runtime.create_sandbox(sandbox_spec())
    hints = runtime.hints()

    async def next_hint() -> PodUid:
        return await anext(hints)

    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        first = group.create_task(next_hint())
        await runtime.start_container(shell("exit 0", name="first"))
        assert await first == UID
        response = runtime._started.hints._response
        assert response is not None
        response.close()
        await runtime.start_container(shell("exit 0"))
        assert await next_hint() == UID
    assert (await ended()).exit_code == 0
    await runtime.close()
    assert [uid async for uid in hints] == []
