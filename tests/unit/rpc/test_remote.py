"""Both ends over a Unix socket: what is asked arrives, what is answered comes back, refusals included."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

import pytest

from provider.cloud.backend import STDERR, STDOUT, AttachRequest, ExecRequest, ExecSession, LogOptions
from provider.model.capacity import Redirect
from provider.model.errors import CloudCode, CloudError
from provider.model.ids import PodUid, ZoneId
from provider.model.instance import InstanceChanged, Notice, Synced
from provider.model.request import ContainerSpec, InstanceRequest
from provider.model.usage import ContainerUsage, InstanceUsage, InterfaceUsage, Use
from provider.model.volume import FileEntry, FilesVolume
from provider.rpc.client import RemoteBackend

UID = PodUid("u1")
REQUEST = InstanceRequest(
    uid=UID,
    zone=ZoneId("zone-a"),
    name="pod",
    namespace="ns",
    containers=(ContainerSpec(name="main", image="busybox", command=()),),
)


async def everything(source: Any) -> bytes:
    return b"".join([data async for data in source])


async def collect(source: Any, into: list[Any]) -> None:
    """Read into a list that a failure leaves behind."""
    async for piece in source:
        into.append(piece)  # noqa: PERF401 - what came before a failure counts


async def feed_for_ever(session: ExecSession) -> None:
    while True:
        await session.write(bytes(1 << 18))
        await _turns(1)  # a write to a command that has ended does not wait


CALLS: list[tuple[Callable[[RemoteBackend], Awaitable[Any]], tuple[Any, ...]]] = [
    (lambda remote: remote.create_instance(REQUEST), ("create_instance", REQUEST)),
    (lambda remote: remote.delete_instance(UID, 1.5), ("delete_instance", UID, 1.5)),
    (lambda remote: remote.forget_instance(UID), ("forget_instance", UID)),
    (
        lambda remote: remote.update_files(UID, "v", [FileEntry("a", b"\xff")]),
        ("update_files", UID, "v", [FileEntry("a", b"\xff")]),
    ),
    (lambda remote: remote.describe_instance(UID), ("describe_instance", UID)),
    (lambda remote: remote.describe_instances(), ("describe_instances", None)),
    (lambda remote: remote.describe_instances(ZoneId("zone-a")), ("describe_instances", "zone-a")),
    (lambda remote: remote.describe_zones(), ("describe_zones",)),
    (
        lambda remote: remote.set_redirects([Redirect("10.96.0.1", 443, (("10.1.1.1", 6443),))]),
        ("set_redirects", [Redirect("10.96.0.1", 443, (("10.1.1.1", 6443),))]),
    ),
    (
        lambda remote: everything(remote.logs(UID, "main", LogOptions(tail=0, since=1.5))),
        ("logs", UID, "main", LogOptions(tail=0, since=1.5)),
    ),
    (lambda remote: anext(remote.watch()), ("watch",)),
    (lambda remote: remote.health(), ("health",)),
]


@pytest.mark.parametrize(("call", "asked"), CALLS, ids=[asked[0] for _, asked in CALLS])
async def test_a_call_arrives_as_it_was_made(remote: RemoteBackend, backend: Any, call: Any, asked: Any) -> None:
    backend.put(UID)
    await call(remote)
    assert backend.asked == [asked]


@pytest.mark.parametrize(("call", "asked"), CALLS[:-1], ids=[asked[0] for _, asked in CALLS[:-1]])
async def test_a_refusal_comes_back_from_every_call(remote: RemoteBackend, backend: Any, call: Any, asked: Any) -> None:
    backend.refusal = CloudError(CloudCode.THROTTLING, "not so fast", 2.5)
    with pytest.raises(CloudError) as caught:
        await call(remote)
    assert (caught.value.code, caught.value.message, caught.value.retry_after) == (
        CloudCode.THROTTLING,
        "not so fast",
        2.5,
    )


async def test_a_bug_is_an_internal_error_and_in_the_log(
    remote: RemoteBackend, backend: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    backend.refusal = KeyError("bug")
    with pytest.raises(CloudError, match=r"KeyError in the elastic API's server; its log has") as caught:
        await remote.describe_zones()
    assert caught.value.code is CloudCode.INTERNAL
    assert "Traceback" in capsys.readouterr().out


async def test_answers_come_back(remote: RemoteBackend, backend: Any) -> None:
    created = await remote.create_instance(REQUEST)
    assert created == backend.instances[UID]
    assert [zone.zone.id for zone in await remote.describe_zones()] == ["zone-b", "zone-a"]
    health = await remote.health()
    assert health.healthy
    assert health.engine is not None
    assert health.engine.cpus == 4


async def test_a_list_of_several_pages_is_whole_and_in_order(remote: RemoteBackend, backend: Any) -> None:
    for number in range(1001):
        backend.put(f"u{number}", message="m" * 5000)
    found = await remote.describe_instances()
    assert [instance.uid for instance in found] == [f"u{number}" for number in range(1001)]


async def test_more_files_than_a_message_holds_are_refused_before_they_are_sent(
    remote: RemoteBackend, backend: Any
) -> None:
    files = [FileEntry(f"f{number}", bytes(1 << 20)) for number in range(64)]
    with pytest.raises(CloudError, match="use fewer or smaller files") as caught:
        await remote.update_files(UID, "v", files)
    assert caught.value.code is CloudCode.INVALID_PARAMETER
    await remote.update_files(UID, "v", files[1:])
    assert [asked[0] for asked in backend.asked] == ["update_files"]


async def test_a_value_that_cannot_cross_is_refused_by_its_path(remote: RemoteBackend, backend: Any) -> None:
    volumes = (FilesVolume("v", (FileEntry("a", b"", 1 << 40),)),)
    request = InstanceRequest(uid=UID, zone=ZoneId("a"), name="n", namespace="ns", containers=(), volumes=volumes)
    with pytest.raises(CloudError, match=r"volumes\[0\].files.files\[0\].mode") as caught:
        await remote.create_instance(request)
    assert caught.value.code is CloudCode.INVALID_PARAMETER
    assert not backend.asked


# ---------------------------------------------------------------- watch


async def test_a_watch_sends_what_is_there_then_synced_then_changes(
    watching: AsyncGenerator[Any, None], backend: Any
) -> None:
    first = backend.put("u1")
    assert await anext(watching) == InstanceChanged(first)
    assert await anext(watching) == Synced(0)
    second = backend.put("u2", reason="later")
    assert await anext(watching) == InstanceChanged(second)
    notice = Notice(uid=UID, reason="Pulled", message="...")
    backend.tell("notice", notice)
    assert await anext(watching) == notice


async def test_a_slow_reader_gets_the_newest_state_and_the_wire_holds_one_change(
    watching: AsyncGenerator[Any, None], backend: Any
) -> None:
    backend.put("u1")
    for _ in range(2):
        await anext(watching)
    for revision in range(1, 2001):  # the reader is away; the server could send all of these
        backend.put("u1", revision=revision)
        backend.put("u2", revision=revision)
        if revision % 100 == 0:
            await asyncio.wait_for(_turns(50), 10)
    seen = [(await anext(watching)).instance for _ in range(3)]
    newest = {instance.uid: instance.revision for instance in seen}
    assert newest == {"u1": 2000, "u2": 2000}
    assert len(backend.taken) <= 5  # two of the start, then one that the server had asked for, then the newest two


async def _turns(count: int) -> None:
    """Let the loop turn, so that everything that can happen has happened."""
    loop = asyncio.get_running_loop()
    for _ in range(count):
        turned = loop.create_future()
        loop.call_soon(turned.set_result, None)
        await turned


async def test_what_is_ready_crosses_in_few_messages(watching: AsyncGenerator[Any, None], backend: Any) -> None:
    for number in range(1000):
        backend.put(f"u{number}")
    seen = [await anext(watching) for _ in range(1001)]
    assert [change.instance.uid for change in seen[:-1]] == [f"u{number}" for number in range(1000)]
    assert seen[-1] == Synced(0)


async def test_closing_a_watch_closes_the_backends_watch(remote: RemoteBackend, backend: Any) -> None:
    async with aclosing(remote.watch()) as changes:
        assert await anext(changes) == Synced(0)
    await asyncio.wait_for(backend.watch_closed.wait(), 10)


async def test_cancelling_a_reader_closes_the_backends_watch(remote: RemoteBackend, backend: Any) -> None:
    async def read() -> None:
        async with aclosing(remote.watch()) as changes:
            async for _ in changes:
                pass

    async with asyncio.TaskGroup() as group:
        task = group.create_task(read())
        while not backend.watches:
            await _turns(1)
        task.cancel()
    assert task.cancelled()
    await asyncio.wait_for(backend.watch_closed.wait(), 10)


# ---------------------------------------------------------------- logs


async def test_pieces_of_any_size_arrive_in_order(remote: RemoteBackend, backend: Any) -> None:
    backend.pieces = [b"a", b"", b"b" * 3_000_000, *[b"line\n"] * 10_000]
    assert await everything(remote.logs(UID, "main", LogOptions())) == b"".join(backend.pieces)


async def test_what_came_before_a_failure_arrives(remote: RemoteBackend, backend: Any) -> None:
    backend.pieces = [b"one ", b"two"]
    backend.log_failure = CloudError(CloudCode.UNAVAILABLE, "engine", 1.0)
    got: list[bytes] = []
    with pytest.raises(CloudError, match="engine"):
        await collect(remote.logs(UID, "main", LogOptions()), got)
    assert b"".join(got) == b"one two"


async def test_a_log_that_nobody_reads_fills_no_memory(remote: RemoteBackend, backend: Any) -> None:
    async with aclosing(remote.logs(UID, "main", LogOptions(follow=True))) as log:
        await anext(log)
        before = -1
        while backend.log_bytes != before:
            before = backend.log_bytes
            await _turns(2000)
        assert backend.log_bytes < 16 << 20
        assert not backend.log_closed.is_set()
    await asyncio.wait_for(backend.log_closed.wait(), 10)


# ---------------------------------------------------------------- exec


async def test_stdin_and_both_outputs_cross_with_half_close(remote: RemoteBackend, backend: Any) -> None:
    session = await remote.exec(UID, ExecRequest(container="main", command=("echo",), stdin=True))
    output = session.output()
    await session.write(b"hello")
    assert await anext(output) == (1, b"hello")
    await session.resize(80, 24)
    await session.close_stdin()
    assert [piece async for piece in output] == [(2, b"end of input")]
    assert await session.wait() == 7
    assert backend.sessions[0].received == [b"hello", (80, 24), "closed"]
    await session.write(b"too late")
    await session.close()
    await session.close()
    await asyncio.wait_for(backend.sessions[0].closed.wait(), 10)


async def test_a_command_that_ends_while_stdin_comes_in_loses_nothing(remote: RemoteBackend, backend: Any) -> None:
    for _ in range(5):
        session = await remote.exec(UID, ExecRequest(container="main", command=("brief",), stdin=True))
        async with asyncio.TaskGroup() as group:
            feeding = group.create_task(feed_for_ever(session))
            got = 0
            async for _, data in session.output():
                got += len(data)
                await _turns(20)  # slower than the server writes: it has ended before all is read
            assert got == 10_000_000
            assert await session.wait() == 7
            feeding.cancel()
        await session.close()


async def test_the_exit_code_may_be_asked_for_before_the_output(remote: RemoteBackend, backend: Any) -> None:
    session = await remote.exec(UID, ExecRequest(container="main", command=("big",)))
    assert await session.wait() == 7
    assert b"".join([data async for _, data in session.output()]) == b"y" * 3_000_000
    await session.close()


async def test_an_exec_is_refused_before_a_session_is_there(remote: RemoteBackend, backend: Any) -> None:
    backend.refusal = CloudError(CloudCode.INCORRECT_STATUS, "container main is not running")
    with pytest.raises(CloudError, match="not running") as caught:
        await remote.exec(UID, ExecRequest(container="main", command=("x",)))
    assert caught.value.code is CloudCode.INCORRECT_STATUS


async def test_closing_kills_the_command(remote: RemoteBackend, backend: Any) -> None:
    session = await remote.exec(UID, ExecRequest(container="main", command=("silent",)))
    await session.close()
    await asyncio.wait_for(backend.sessions[0].closed.wait(), 10)
    assert [piece async for piece in session.output()] == []
    with pytest.raises(CloudError, match="was closed"):
        await session.wait()


async def test_a_failure_in_the_middle_reaches_reader_and_waiter(remote: RemoteBackend, backend: Any) -> None:
    session = await remote.exec(UID, ExecRequest(container="main", command=("fail",)))
    got: list[tuple[int, bytes]] = []
    with pytest.raises(CloudError, match="engine went away"):
        await collect(session.output(), got)
    assert got == [(1, b"some")]
    with pytest.raises(CloudError, match="engine went away"):
        await session.wait()
    await session.close()


async def test_giving_up_on_stdin_or_on_the_exit_code_leaves_the_command_alone(
    remote: RemoteBackend, backend: Any
) -> None:
    session = await remote.exec(UID, ExecRequest(container="main", command=("stuck",), stdin=True))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(feed_for_ever(session), 0.3)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(session.wait(), 0.05)
    backend.sessions[0].may_end.set()
    assert [piece async for piece in session.output()] == []
    assert await session.wait() == 7
    await session.close()


async def test_output_that_nobody_reads_blocks_the_command(remote: RemoteBackend, backend: Any) -> None:
    session = await remote.exec(UID, ExecRequest(container="main", command=("flood",)))
    before = -1
    while backend.sessions[0].sent != before or before == 0:
        before = backend.sessions[0].sent
        await _turns(2000)
    assert before < 16 << 20
    await session.close()
    await asyncio.wait_for(backend.sessions[0].closed.wait(), 10)


# ---------------------------------------------------------------- attach, forward, usage


async def test_an_attach_is_an_exec_without_a_command(remote: RemoteBackend, backend: Any) -> None:
    asked = AttachRequest(container="main", stdin=True, stderr=False)
    session = await remote.attach(UID, asked)
    assert backend.asked == [("attach", UID, asked)]
    await session.write(b"one")
    await session.close_stdin()
    async with asyncio.timeout(10):
        assert [piece async for piece in session.output()] == [(STDOUT, b"one"), (STDERR, b"end of input")]
        assert await session.wait() == 7
    await session.close()
    await backend.sessions[0].closed.wait()


async def test_a_connection_carries_both_directions(remote: RemoteBackend, backend: Any) -> None:
    connection = await remote.forward(UID, 8080)
    assert backend.asked == [("forward", UID, 8080)]
    big = bytes(range(256)) * 10_000
    heard = b""
    async with asyncio.timeout(10):
        await connection.write(big)
        while len(heard) < len(big):
            heard += await connection.read()
        assert heard == big
        await connection.end()
        assert await connection.read() == b""
        await backend.ports[0].closed.wait()
        await connection.write(b"too late")
        await connection.end()
    await connection.close()
    await connection.close()


async def test_a_connection_that_is_closed_is_closed_there(remote: RemoteBackend, backend: Any) -> None:
    connection = await remote.forward(UID, 8080)
    await connection.close()
    async with asyncio.timeout(10):
        await backend.ports[0].closed.wait()


async def test_a_connection_that_breaks_says_why(remote: RemoteBackend, backend: Any) -> None:
    connection = await remote.forward(UID, 8080)
    await connection.write(b"break")
    with pytest.raises(CloudError, match="the engine went away") as error:
        await connection.read()
    assert error.value.code is CloudCode.UNAVAILABLE
    await connection.close()
    backend.refusal = CloudError(CloudCode.UNSUPPORTED, "no network")
    with pytest.raises(CloudError, match="no network"):
        await remote.forward(UID, 8080)


async def test_usage_comes_in_pages_and_whole(remote: RemoteBackend, backend: Any) -> None:
    container = ContainerUsage("main", 4.5, Use(5.0, 1 << 40, 3, 2, 1, 7, 8), 9)
    interface = InterfaceUsage("eth0", 1, 2, 3, 4)
    backend.usage = [
        InstanceUsage(PodUid(f"u{at}"), ZoneId("zone-a"), Use(5.0, at), at, (container,), (interface,), 3)
        for at in range(450)
    ]
    assert await remote.describe_usage() == backend.usage
    await remote.describe_usage(ZoneId("zone-b"))
    assert backend.asked == [("describe_usage", None), ("describe_usage", ZoneId("zone-b"))]
