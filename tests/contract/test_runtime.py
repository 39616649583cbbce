"""What every ContainerRuntime does: one suite, whatever runs containers."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING

import msgspec
import pytest

from provider.clock import SystemClock
from provider.cloud.backend import STDOUT, AttachRequest, ExecRequest, LogOptions
from provider.cloud.runtime.base import FaultKind, RuntimeFault
from provider.model.capacity import Redirect
from provider.model.ids import PodUid
from provider.model.request import PullPolicy
from provider.model.volume import EmptyDirVolume, FileEntry, FilesVolume

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from provider.cloud.runtime.base import RunSpec, Seen, SeenContainer
    from provider.model.usage import InstanceUsage
    from tests.support.cloud_worlds import RuntimeWorld

UNKNOWN = PodUid("nobody")
SECONDS = 20


async def fault(awaitable: Awaitable[object]) -> RuntimeFault:
    with pytest.raises(RuntimeFault) as caught:
        await awaitable
    return caught.value


async def there(world: RuntimeWorld, uid: PodUid) -> Seen:
    seen = await world.runtime.inspect(uid)
    assert seen is not None
    return seen


async def ended(world: RuntimeWorld, spec: RunSpec) -> SeenContainer:
    """Wait for the end of an attempt as a supervisor does: a hint, then a look."""
    async with asyncio.timeout(SECONDS), aclosing(world.runtime.hints()) as hints:
        while True:
            for one in (await there(world, spec.uid)).containers:
                if (one.name, one.attempt, one.exited) == (spec.container.name, spec.attempt, True):
                    return one
            await anext(hints)
    raise AssertionError("hints have ended")


async def output(world: RuntimeWorld, spec: RunSpec, options: LogOptions | None = None) -> bytes:
    pieces = world.runtime.logs(spec.uid, spec.container.name, spec.attempt, options or LogOptions())
    async with asyncio.timeout(SECONDS), aclosing(pieces):
        return b"".join([piece async for piece in pieces])


# ---------------------------------------------------------------- what is there


async def test_an_engine_is_healthy_and_takes_instances(runtime_world: RuntimeWorld) -> None:
    health = await runtime_world.runtime.health()
    assert (health.healthy, health.reason) == (True, "")
    assert health.engine is not None
    assert "://" in health.engine.runtime
    assert await runtime_world.runtime.pressure() == ""
    for redirects in ([Redirect("10.211.255.1", 443, (("10.211.254.1", 6443),))], []):
        await runtime_world.runtime.set_redirects(redirects)


async def test_of_an_unknown_instance_there_is_nothing_to_see_and_nothing_to_do(runtime_world: RuntimeWorld) -> None:
    runtime = runtime_world.runtime
    assert await runtime.inspect(UNKNOWN) is None
    assert UNKNOWN not in [seen.uid for seen in await runtime.relist()]
    await runtime.stop_container(UNKNOWN, "main", 0, 1)
    await runtime.remove_container(UNKNOWN, "main", 0)
    await runtime.release_sandbox(UNKNOWN)
    await runtime.remove_instance(UNKNOWN)
    await runtime.write_files(UNKNOWN, "config", [FileEntry("a", b"")])
    logs = runtime.logs(UNKNOWN, "main", 0, LogOptions(follow=True))
    assert [piece async for piece in logs] == []
    refused = await fault(runtime.exec(UNKNOWN, 0, ExecRequest(container="main", command=("true",))))
    assert refused.kind is FaultKind.START


async def test_a_sandbox_has_its_address_until_it_is_released(runtime_world: RuntimeWorld) -> None:
    runtime = runtime_world.runtime
    spec = runtime_world.sandbox((EmptyDirVolume("scratch"), FilesVolume("config", (FileEntry("a", b"1"),))))
    await runtime.create_sandbox(spec)
    first = await there(runtime_world, spec.uid)
    assert (first.zone, first.address, first.vswitch) == (spec.zone, spec.address, spec.vswitch)
    assert (first.sandbox_exists, first.sandbox_running, first.containers) == (True, True, ())
    await runtime.create_sandbox(spec)
    again = await there(runtime_world, spec.uid)
    assert again.sandbox_id == first.sandbox_id
    assert first.sandbox_id
    assert again in await runtime.relist()
    await runtime.release_sandbox(spec.uid)
    left = await runtime.inspect(spec.uid)
    assert left is None or (left.sandbox_exists, left.sandbox_running, left.address) == (False, False, None)
    await runtime.remove_instance(spec.uid)
    await runtime.remove_instance(spec.uid)
    assert await runtime.inspect(spec.uid) is None


async def test_an_address_is_free_once_the_sandbox_is_released(runtime_world: RuntimeWorld) -> None:
    spec = runtime_world.sandbox()
    await runtime_world.runtime.create_sandbox(spec)
    await runtime_world.runtime.release_sandbox(spec.uid)
    heir = msgspec.structs.replace(runtime_world.sandbox(), address=spec.address)
    await runtime_world.runtime.create_sandbox(heir)
    assert (await there(runtime_world, heir.uid)).address == spec.address


async def test_a_sandbox_at_another_address_is_made_anew(runtime_world: RuntimeWorld) -> None:
    runtime = runtime_world.runtime
    spec = runtime_world.sandbox()
    await runtime.create_sandbox(spec)
    await runtime.start_container(await runtime_world.attempt(spec))
    moved = msgspec.structs.replace(spec, address=next(runtime_world.addresses))
    await runtime.create_sandbox(moved)
    seen = await there(runtime_world, spec.uid)
    assert (seen.address, seen.sandbox_running, seen.containers) == (moved.address, True, ())
    await runtime.start_container(await runtime_world.attempt(moved))


# ---------------------------------------------------------------- images


async def test_an_image_that_is_there_is_found_again(runtime_world: RuntimeWorld) -> None:
    image = await runtime_world.runtime.ensure_image(runtime_world.image, PullPolicy.IF_NOT_PRESENT, ())
    assert image.id.startswith("sha256:")
    again = await runtime_world.runtime.ensure_image(runtime_world.image, PullPolicy.NEVER, ())
    assert (again.id, again.digest, again.pulled) == (image.id, image.digest, False)


@pytest.mark.parametrize("image", ["", "UPPER CASE", "a//b", "busybox:", "a" * 256])
async def test_an_image_name_that_is_none(runtime_world: RuntimeWorld, image: str) -> None:
    refused = await fault(runtime_world.runtime.ensure_image(image, PullPolicy.NEVER, ()))
    assert refused.kind is FaultKind.INVALID_IMAGE_NAME
    assert image in refused.message


# ---------------------------------------------------------------- attempts


@pytest.mark.parametrize("code", [0, 3])
async def test_an_attempt_runs_once_to_its_end(runtime_world: RuntimeWorld, code: int) -> None:
    runtime, sandbox = runtime_world.runtime, runtime_world.sandbox()
    await runtime.create_sandbox(sandbox)
    spec = await runtime_world.attempt(sandbox, seconds=0.3, code=code)
    started = await runtime.start_container(spec)
    assert (started.name, started.attempt, started.running, started.exited) == ("main", 0, True, False)
    end = await ended(runtime_world, spec)
    assert (end.exit_code, end.running, end.oom_killed) == (code, False, False)
    assert end.container_id == started.container_id
    assert end.image_id == spec.image_id
    assert end.started_at is not None
    assert end.finished_at is not None
    assert end.finished_at - end.started_at >= 0.25
    assert await runtime.start_container(spec) == end, "what has ended is not started a second time"
    assert await output(runtime_world, spec) == runtime_world.said("main", 0, code)


async def test_a_start_that_is_repeated_finds_what_runs(runtime_world: RuntimeWorld) -> None:
    runtime, sandbox = runtime_world.runtime, runtime_world.sandbox()
    await runtime.create_sandbox(sandbox)
    spec = await runtime_world.attempt(sandbox)
    first = await runtime.start_container(spec)
    again, beside = await asyncio.gather(runtime.start_container(spec), runtime.start_container(spec))
    assert {first.container_id} == {again.container_id, beside.container_id}
    assert first.started_at == again.started_at == beside.started_at
    assert len((await there(runtime_world, spec.uid)).containers) == 1


async def test_starts_at_the_same_time_start_once(runtime_world: RuntimeWorld) -> None:
    runtime, sandbox = runtime_world.runtime, runtime_world.sandbox()
    await runtime.create_sandbox(sandbox)
    spec = await runtime_world.attempt(sandbox, seconds=0.2)
    seen = await asyncio.gather(*(runtime.start_container(spec) for _ in range(3)))
    assert len({one.container_id for one in seen}) == 1
    assert len({one.started_at for one in seen}) == 1
    await ended(runtime_world, spec)
    assert await output(runtime_world, spec) == runtime_world.said("main", 0, 0)


async def test_nothing_starts_without_a_sandbox(runtime_world: RuntimeWorld) -> None:
    spec = await runtime_world.attempt(runtime_world.sandbox())
    refused = await fault(runtime_world.runtime.start_container(spec))
    assert (refused.kind, refused.message) == (FaultKind.CREATE, f"instance {spec.uid} has no sandbox")
    assert await runtime_world.runtime.inspect(spec.uid) is None


async def test_attempts_are_kept_until_they_are_removed(runtime_world: RuntimeWorld) -> None:
    runtime, sandbox = runtime_world.runtime, runtime_world.sandbox()
    await runtime.create_sandbox(sandbox)
    specs = [await runtime_world.attempt(sandbox, attempt=number, seconds=0, code=number) for number in (1, 2)]
    for spec in specs:
        await runtime.start_container(spec)
        await ended(runtime_world, spec)
    seen = (await there(runtime_world, sandbox.uid)).containers
    assert sorted((one.attempt, one.exit_code) for one in seen) == [(1, 1), (2, 2)]
    await runtime.remove_container(sandbox.uid, "main", 1)
    await runtime.remove_container(sandbox.uid, "main", 1)
    (left,) = (await there(runtime_world, sandbox.uid)).containers
    assert left.attempt == 2
    assert await output(runtime_world, specs[0]) == b""
    assert await output(runtime_world, specs[1]) == runtime_world.said("main", 2, 2)


@pytest.mark.parametrize(("grace", "code"), [(10, 143), (0, 137)])
async def test_a_stop_returns_once_it_has_ended(runtime_world: RuntimeWorld, grace: float, code: int) -> None:
    runtime, sandbox = runtime_world.runtime, runtime_world.sandbox()
    await runtime.create_sandbox(sandbox)
    spec = await runtime_world.attempt(sandbox)
    await runtime.start_container(spec)
    async with aclosing(runtime.logs(spec.uid, "main", 0, LogOptions(follow=True))) as said:
        assert await anext(said)  # its shell listens to signals from here on
    async with asyncio.timeout(5):
        await runtime.stop_container(spec.uid, "main", 0, grace)
    end = await ended(runtime_world, spec)
    assert end.exit_code == code
    await runtime.stop_container(spec.uid, "main", 0, grace)
    assert await ended(runtime_world, spec) == end


async def test_what_was_stopped_before_its_start_is_no_end(runtime_world: RuntimeWorld) -> None:
    runtime, sandbox = runtime_world.runtime, runtime_world.sandbox()
    await runtime.create_sandbox(sandbox)
    spec = await runtime_world.attempt(sandbox)
    await runtime.stop_container(spec.uid, "main", 0, 1)
    assert (await there(runtime_world, spec.uid)).containers == ()
    assert (await runtime.start_container(spec)).running


async def test_ended_attempts_outlive_the_sandbox_and_go_with_the_instance(runtime_world: RuntimeWorld) -> None:
    runtime, sandbox = runtime_world.runtime, runtime_world.sandbox()
    await runtime.create_sandbox(sandbox)
    spec = await runtime_world.attempt(sandbox, seconds=0, code=4)
    await runtime.start_container(spec)
    end = await ended(runtime_world, spec)
    await runtime.release_sandbox(sandbox.uid)
    left = await there(runtime_world, sandbox.uid)
    assert (left.sandbox_exists, left.address, left.containers) == (False, None, (end,))
    assert left in await runtime.relist()
    assert await output(runtime_world, spec) == runtime_world.said("main", 0, 4)
    await runtime.remove_instance(sandbox.uid)
    assert await runtime.inspect(sandbox.uid) is None
    assert sandbox.uid not in [seen.uid for seen in await runtime.relist()]


async def test_an_instance_that_runs_can_be_removed_whole(runtime_world: RuntimeWorld) -> None:
    runtime, sandbox = runtime_world.runtime, runtime_world.sandbox((EmptyDirVolume("scratch", memory=True),))
    await runtime.create_sandbox(sandbox)
    for name in ("main", "other"):
        await runtime.start_container(await runtime_world.attempt(sandbox, name))
    await runtime.remove_instance(sandbox.uid)
    assert await runtime.inspect(sandbox.uid) is None


# ---------------------------------------------------------------- logs, commands, files


async def test_a_followed_log_ends_with_its_attempt(runtime_world: RuntimeWorld) -> None:
    runtime, sandbox = runtime_world.runtime, runtime_world.sandbox()
    await runtime.create_sandbox(sandbox)
    spec = await runtime_world.attempt(sandbox, seconds=0.3, code=5)
    await runtime.start_container(spec)
    said = runtime_world.said("main", 0, 5)
    assert await output(runtime_world, spec, LogOptions(follow=True)) == said
    lines = said.splitlines(keepends=True)
    assert await output(runtime_world, spec, LogOptions(tail=1)) == lines[-1]
    assert await output(runtime_world, spec, LogOptions(tail=0)) == b""
    assert await output(runtime_world, spec, LogOptions(limit_bytes=3)) == said[:3]
    stamped = (await output(runtime_world, spec, LogOptions(timestamps=True))).splitlines(keepends=True)
    assert [line.partition(b" ")[2] for line in stamped] == lines


async def test_a_command_runs_only_where_something_runs(runtime_world: RuntimeWorld) -> None:
    runtime, sandbox = runtime_world.runtime, runtime_world.sandbox()
    await runtime.create_sandbox(sandbox)
    spec = await runtime_world.attempt(sandbox)
    asked = ExecRequest(container="main", command=("/bin/sh", "-c", "exit 0"))
    assert (await fault(runtime.exec(sandbox.uid, 0, asked))).kind is FaultKind.START
    await runtime.start_container(spec)
    session = await runtime.exec(sandbox.uid, 0, asked)
    async with asyncio.timeout(SECONDS):
        assert [piece async for piece in session.output()] == []
        assert await session.wait() == 0
    await session.close()
    await runtime.stop_container(sandbox.uid, "main", 0, 0)
    assert (await fault(runtime.exec(sandbox.uid, 0, asked))).kind is FaultKind.START


async def test_files_may_be_written_again_and_again(runtime_world: RuntimeWorld) -> None:
    sandbox = runtime_world.sandbox((FilesVolume("config", (FileEntry("a", b"1"),)),))
    await runtime_world.runtime.create_sandbox(sandbox)
    for content in (b"2", b"2", b""):
        await runtime_world.runtime.write_files(sandbox.uid, "config", [FileEntry("b", content)])
    await runtime_world.runtime.release_sandbox(sandbox.uid)
    await runtime_world.runtime.write_files(sandbox.uid, "config", [FileEntry("c", b"too late")])


# ---------------------------------------------------------------- streams and figures


async def test_whoever_joins_a_container_hears_and_is_heard(runtime_world: RuntimeWorld) -> None:
    runtime, sandbox = runtime_world.runtime, runtime_world.sandbox()
    await runtime.create_sandbox(sandbox)
    spec = await runtime_world.attempt(sandbox)
    command = ("/bin/sh", "-c", "while read line; do echo heard $line; done; exec sleep 600")
    container = msgspec.structs.replace(spec.container, command=command, stdin=True, stdin_once=True)
    spec = msgspec.structs.replace(spec, container=container)
    asked = AttachRequest(container="main", stdin=True)
    assert (await fault(runtime.attach(sandbox.uid, 0, asked))).kind is FaultKind.START
    await runtime.start_container(spec)
    session = await runtime.attach(sandbox.uid, 0, asked)
    listener = await runtime.attach(sandbox.uid, 0, AttachRequest(container="main"))
    heard = listener.output().__aiter__()
    async with asyncio.timeout(SECONDS):
        await session.write(b"one\ntwo\n")
        await session.resize(80, 24)  # it has no terminal
        await session.close_stdin()
        if runtime_world.real:
            said = b""
            while said != b"heard one\nheard two\n":
                source, piece = await anext(heard)
                assert source == STDOUT
                said += piece
        await session.close()
        await session.close()
        assert (await there(runtime_world, sandbox.uid)).containers[0].running
        await runtime.stop_container(sandbox.uid, "main", 0, 0)
        rest = b"".join([piece async for _, piece in heard])
        assert rest == (b"" if runtime_world.real else b"simulated: main attempt 0 ended with 137\n")
        assert await listener.wait() == 0
    await listener.close()
    assert (await fault(runtime.attach(sandbox.uid, 0, asked))).kind is FaultKind.START


async def test_a_port_inside_is_reached_where_there_is_a_network(runtime_world: RuntimeWorld) -> None:
    runtime, sandbox = runtime_world.runtime, runtime_world.sandbox()
    if not runtime_world.real:
        await runtime.create_sandbox(sandbox)
        unsupported = await fault(runtime.connect_inside(sandbox.uid, 8080, 1))
        assert unsupported.kind is FaultKind.UNSUPPORTED
        assert unsupported.message.startswith("port-forward: ")
        return
    assert (await fault(runtime.connect_inside(sandbox.uid, 8080, 1))).kind is FaultKind.START
    await runtime.create_sandbox(sandbox)
    with pytest.raises(ConnectionRefusedError):
        await runtime.connect_inside(sandbox.uid, 8080, SECONDS)
    spec = await runtime_world.attempt(sandbox)
    command = ("/bin/sh", "-c", "echo hello | nc -l -p 8080 > /tmp/heard; sleep 600")
    container = msgspec.structs.replace(spec.container, command=command)
    await runtime.start_container(msgspec.structs.replace(spec, container=container))
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(SECONDS):
        while True:
            try:
                connected = await runtime.connect_inside(sandbox.uid, 8080, SECONDS)
                break
            except ConnectionRefusedError:
                await SystemClock().sleep(0.02)
        assert connected.gettimeout() == 0
        assert await loop.sock_recv(connected, 100) == b"hello\n"
    connected.close()
    await runtime.stop_container(sandbox.uid, "main", 0, 0)
    await runtime.release_sandbox(sandbox.uid)
    assert (await fault(runtime.connect_inside(sandbox.uid, 8080, 1))).kind is FaultKind.START


async def test_what_is_used_is_told_of_what_runs(runtime_world: RuntimeWorld) -> None:
    runtime, sandbox = runtime_world.runtime, runtime_world.sandbox()

    async def mine() -> InstanceUsage | None:
        found = [one for one in await runtime.usage() if one.uid == sandbox.uid]
        return found[0] if found else None

    assert await mine() is None
    await runtime.create_sandbox(msgspec.structs.replace(sandbox, memory=64 << 20))
    spec = await runtime_world.attempt(sandbox)
    started = await runtime.start_container(spec)
    used = await mine()
    assert used is not None
    assert (used.zone, used.memory_limit) == (sandbox.zone, 64 << 20)
    (container,) = used.containers
    assert (container.name, container.started_at) == ("main", started.started_at)
    if runtime_world.real:
        async with asyncio.timeout(SECONDS):
            while not (used.use.cpu > container.use.cpu > 0 and 0 < container.use.working_set < 64 << 20):
                await SystemClock().sleep(0.02)
                used = await mine()
                assert used is not None
                (container,) = used.containers
        assert used.use.working_set <= used.use.memory
        assert used.processes >= 2
        assert [one.name for one in used.interfaces] == ["eth0"]
    await runtime.stop_container(sandbox.uid, "main", 0, 0)
    used = await mine()
    assert used is not None
    assert used.containers == ()
    await runtime.release_sandbox(sandbox.uid)
    assert await mine() is None


async def test_the_disk_of_an_instance_is_measured(runtime_world: RuntimeWorld) -> None:
    assert await runtime_world.runtime.disk_use(UNKNOWN) is None
    sandbox = runtime_world.sandbox((EmptyDirVolume("v"), EmptyDirVolume("m", memory=True)))
    await runtime_world.runtime.create_sandbox(sandbox)
    await runtime_world.runtime.start_container(await runtime_world.attempt(sandbox))
    use = await runtime_world.runtime.disk_use(sandbox.uid)
    assert use is not None
    assert ([name for name, _ in use.volumes], [name for name, _ in use.containers]) == (["v"], ["main"])
    assert use.total >= sum(size for _, size in (*use.volumes, *use.containers))
