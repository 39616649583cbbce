"""What a backend lets one see and do inside an instance, and change while it lives."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING

from provider.cloud.backend import AttachRequest, ExecRequest, LogOptions
from provider.model.errors import CloudCode
from provider.model.ids import ZoneId
from provider.model.instance import InstancePhase
from provider.model.request import ContainerKind, RegistryCredential
from provider.model.volume import EmptyDirVolume, FileEntry, FilesVolume, VolumeMount
from tests.contract.asking import UNKNOWN, output, refusal, released, running

if TYPE_CHECKING:
    from tests.support.cloud_worlds import BackendWorld

# ---------------------------------------------------------------- logs, exec, files


async def test_logs_are_there_until_the_instance_is_forgotten(world: BackendWorld) -> None:
    request = world.request(seconds=0.2)
    await world.backend.create_instance(request)
    await world.until_instance(request.uid, running)
    followed = await output(world.backend, request.uid, "main", LogOptions(follow=True))
    assert followed == world.below.said("main", 0, 0)
    await world.until_instance(request.uid, released)
    assert await output(world.backend, request.uid, "main") == followed
    assert await output(world.backend, request.uid, "main", LogOptions(tail=0)) == b""
    error = await refusal(output(world.backend, request.uid, "other"))
    assert (error.code, error.message) == (
        CloudCode.NOT_FOUND,
        f'container "other" in pod "{request.name}" is not available',
    )
    error = await refusal(output(world.backend, request.uid, "main", LogOptions(previous=True)))
    assert (error.code, error.message) == (
        CloudCode.INCORRECT_STATUS,
        f'previous terminated container "main" in pod "{request.name}" not found',
    )
    assert (await refusal(output(world.backend, UNKNOWN, "main"))).code is CloudCode.NOT_FOUND


async def test_what_has_not_started_has_no_logs_and_no_exec(world: BackendWorld) -> None:
    request = world.request(
        world.container("first", kind=ContainerKind.INIT, command=("/bin/sh", "-c", "sleep 60")),
        world.container("main"),
    )
    holder = world.request(cpu=4_000)
    await world.backend.create_instance(holder)
    await world.backend.create_instance(request)
    error = await refusal(output(world.backend, request.uid, "main"))
    assert (error.code, error.message) == (
        CloudCode.INCORRECT_STATUS,
        f'container "main" in pod "{request.name}" is waiting to start: PodInitializing',
    )
    asked = ExecRequest(container="main", command=("/bin/true",))
    assert (await refusal(world.backend.exec(request.uid, asked))).code is CloudCode.INCORRECT_STATUS
    asked = ExecRequest(container="other", command=("/bin/true",))
    assert (await refusal(world.backend.exec(request.uid, asked))).code is CloudCode.NOT_FOUND


async def test_a_command_runs_in_a_running_container(world: BackendWorld) -> None:
    request = world.request()
    await world.backend.create_instance(request)
    await world.until_instance(request.uid, running)
    command = ("/bin/sh", "-c", "read line; echo got $line; exit 0")
    session = await world.backend.exec(request.uid, ExecRequest(container="main", command=command, stdin=True))
    await session.write(b"this\n")
    await session.close_stdin()
    async with asyncio.timeout(20):
        heard = b"".join([piece async for _, piece in session.output()])
        assert await session.wait() == 0
    await session.close()
    await session.close()
    assert heard == (b"got this\n" if world.below.real else b"")


async def test_whoever_joins_a_container_leaves_it_running(world: BackendWorld) -> None:
    request = world.request()
    assert (
        await refusal(world.backend.attach(request.uid, AttachRequest(container="main")))
    ).code is CloudCode.NOT_FOUND
    await world.backend.create_instance(request)
    await world.until_instance(request.uid, running)
    if world.below.real:  # what it says as it begins is not for who joins later
        async with aclosing(world.backend.logs(request.uid, "main", LogOptions(follow=True))) as log:
            assert await anext(log)
    asked = AttachRequest(container="other")
    assert (await refusal(world.backend.attach(request.uid, asked))).code is CloudCode.NOT_FOUND
    first = await world.backend.attach(request.uid, AttachRequest(container="main", stdin=True))
    await first.write(b"it takes no input\n")
    await first.close()
    await first.close()
    second = await world.backend.attach(request.uid, AttachRequest(container="main"))
    assert running(await world.backend.describe_instance(request.uid))
    await world.backend.delete_instance(request.uid, 0)
    async with asyncio.timeout(20):
        said = b"".join([piece async for _, piece in second.output()])
        assert await second.wait() == 0
    await second.close()
    assert said == (b"" if world.below.real else b"simulated: main attempt 0 ended with 143\n")
    await world.until_instance(request.uid, released)
    error = await refusal(world.backend.attach(request.uid, AttachRequest(container="main")))
    assert error.code is CloudCode.INCORRECT_STATUS


async def test_a_port_is_forwarded_where_there_is_a_network(world: BackendWorld) -> None:
    script = "echo hello | nc -l -p 8080 > /tmp/heard; touch /tmp/done; sleep 600"
    request = world.request(world.container("main", command=("/bin/sh", "-c", script)))
    assert (await refusal(world.backend.forward(request.uid, 8080))).code is CloudCode.NOT_FOUND
    await world.backend.create_instance(request)
    await world.until_instance(request.uid, running)
    for number in (0, 65_536, -1):
        assert (await refusal(world.backend.forward(request.uid, number))).code is CloudCode.INVALID_PARAMETER
    if not world.below.real:
        error = await refusal(world.backend.forward(request.uid, 8080))
        assert error.code is CloudCode.UNSUPPORTED
        assert error.message.startswith("port-forward: ")
        return
    error = await refusal(world.backend.forward(request.uid, 1))
    assert (error.code, error.message) == (
        CloudCode.INCORRECT_STATUS,
        "failed to connect to localhost:1 inside the instance: connection refused",
    )
    waiting = "until cat /proc/net/tcp /proc/net/tcp6 | grep -q :1F90; do sleep 0.05; done"
    await world.shell(request.uid, "main", waiting)
    connection = await world.backend.forward(request.uid, 8080)
    async with asyncio.timeout(20):
        assert await connection.read() == b"hello\n"
        await connection.write(b"from outside")
        await connection.end()
        assert await connection.read() == b""
        await connection.write(b"dropped")
    await connection.close()
    await connection.close()
    heard = "until test -e /tmp/done; do sleep 0.05; done; cat /tmp/heard"
    assert await world.shell(request.uid, "main", heard) == b"from outside"


async def test_usage_is_told_by_zone(world: BackendWorld) -> None:
    request = world.request()
    await world.backend.create_instance(request)
    await world.until_instance(request.uid, running)
    found = {one.uid: one for one in await world.backend.describe_usage()}
    assert [one.name for one in found[request.uid].containers] == ["main"]
    assert found[request.uid].use.at > 0
    assert request.uid in {one.uid for one in await world.backend.describe_usage(request.zone)}
    assert await world.backend.describe_usage(ZoneId("elsewhere")) == []
    await world.backend.delete_instance(request.uid, 0)
    await world.until_instance(request.uid, released)
    assert request.uid not in {one.uid for one in await world.backend.describe_usage()}


async def test_files_are_replaced(world: BackendWorld) -> None:
    container = world.container("main", mounts=(VolumeMount("config", "/etc/config"),))
    request = world.request(
        container, volumes=(FilesVolume("config", (FileEntry("a", b"old\n"),)), EmptyDirVolume("scratch"))
    )
    await world.backend.create_instance(request)
    await world.backend.update_files(request.uid, "config", [FileEntry("a", b"new\n")])
    await world.until_instance(request.uid, running)
    if world.below.real:
        assert await world.shell(request.uid, "main", "cat /etc/config/a") == b"new\n"
    await world.backend.update_files(request.uid, "config", [FileEntry("b", b"newer\n")])
    if world.below.real:
        assert await world.shell(request.uid, "main", "cat /etc/config/*") == b"newer\n"
    error = await refusal(world.backend.update_files(request.uid, "scratch", []))
    assert error.code is CloudCode.INVALID_PARAMETER
    assert (await refusal(world.backend.update_files(request.uid, "none", []))).code is CloudCode.NOT_FOUND
    assert (await refusal(world.backend.update_files(UNKNOWN, "config", []))).code is CloudCode.NOT_FOUND
    await world.backend.delete_instance(request.uid, 0)
    await world.until_instance(request.uid, released)
    await world.backend.update_files(request.uid, "config", [FileEntry("c", b"too late")])


# ---------------------------------------------------------------- logins


async def test_logins_may_be_replaced_while_an_instance_lives(world: BackendWorld) -> None:
    request = world.request()
    await world.backend.create_instance(request)
    login = RegistryCredential("quay.io", "me", "secret")
    for _ in range(2):
        await world.backend.update_credentials(request.uid, [login])
    same = await world.backend.create_instance(request)  # the logins are no part of what a UID stands for
    assert same.uid == request.uid
    await world.backend.delete_instance(request.uid, 0)
    await world.until_instance(request.uid, released)
    await world.backend.update_credentials(request.uid, [])


async def test_logins_of_nobody(world: BackendWorld) -> None:
    assert (await refusal(world.backend.update_credentials(UNKNOWN, []))).code is CloudCode.NOT_FOUND


# ---------------------------------------------------------------- deadline


async def test_a_deadline_may_be_set_while_an_instance_lives(world: BackendWorld) -> None:
    request = world.request(grace=2.0)
    await world.backend.create_instance(request)
    assert (await world.until_instance(request.uid, running)).active_deadline is None
    later = await world.backend.update_deadline(request.uid, 600)
    assert (later.active_deadline, later.phase) == (600, InstancePhase.RUNNING)
    assert (await world.backend.create_instance(request)).uid == request.uid
    await world.backend.update_deadline(request.uid, 0.1)
    ended = await world.until_instance(request.uid, released)
    assert (ended.phase, ended.reason, ended.active_deadline) == (InstancePhase.FAILED, "DeadlineExceeded", 0.1)
    assert (await world.backend.update_deadline(request.uid, None)).reason == "DeadlineExceeded"


async def test_a_deadline_of_nobody(world: BackendWorld) -> None:
    assert (await refusal(world.backend.update_deadline(UNKNOWN, 1))).code is CloudCode.NOT_FOUND
