"""An exec session on fake channels: what ends it, what the client is told, and that nothing is left running."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from typing import TYPE_CHECKING

import pytest

from provider.clock import LoopClock
from provider.cloud.backend import STDERR, STDOUT
from provider.kubelet.liveness import IDLE_SECONDS
from provider.kubelet.sessions import LINGER_SECONDS, PIECE, Wanted, run_session
from provider.kubelet.streams.channels import V1, V4, Channel, ChannelError, Message
from provider.model.errors import CloudCode, CloudError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

TROUBLE = "error executing command in container"
ASKED = Wanted("c", stdin=True, stdout=True, stderr=True, tty=False, trouble=TROUBLE)


class FakeCommand:
    """`cat`, or what the test scripts: output until stdin ends, then an exit code."""

    def __init__(self, *output: tuple[int, bytes], code: int = 0, echo: bool = False) -> None:
        self.scripted = output
        self.code = code
        self.echo = echo
        self.stdin: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.sizes: list[tuple[int, int]] = []
        self.closed = 0
        self.broken: CloudError | None = None

    async def output(self) -> AsyncIterator[tuple[int, bytes]]:
        for piece in self.scripted:
            yield piece
        while self.echo and (data := await self.stdin.get()) is not None:
            yield STDOUT, data

    async def write(self, data: bytes) -> None:
        if self.broken:
            raise self.broken
        await self.stdin.put(data)

    async def close_stdin(self) -> None:
        await self.stdin.put(None)

    async def resize(self, width: int, height: int) -> None:
        self.sizes.append((width, height))

    async def wait(self) -> int:
        return self.code

    async def close(self) -> None:
        self.closed += 1
        if self.broken:
            raise self.broken


class FakeClient:
    """Channels whose client sends what it is told, and leaves when that is used up if `leaves`."""

    def __init__(self, *messages: Message, protocol: str = V4, leaves: bool = False) -> None:
        self.protocol = protocol
        self.activity = 0
        self.messages = deque(messages)
        self.leaves = leaves
        self.told: dict[Channel, list[bytes]] = {}
        self.pings = 0
        self.dead = False
        self.breach = False
        self.closes = True
        self.ended = self.aborted = False

    async def receive(self) -> Message | None:
        await LoopClock().sleep(0)
        if self.breach:
            raise ChannelError("nonsense")
        if self.messages:
            self.activity += 1
            return self.messages.popleft()
        if not self.leaves:
            await asyncio.Event().wait()
        return None

    async def send(self, channel: Channel, data: bytes) -> None:
        if self.dead:
            raise ConnectionResetError
        self.told.setdefault(channel, []).append(data)

    async def ping(self) -> None:
        if self.dead:
            raise ConnectionResetError
        self.pings += 1

    async def end(self) -> None:
        self.ended = True
        if not self.closes:
            await asyncio.Event().wait()

    def abort(self) -> None:
        self.aborted = True

    @property
    def status(self) -> dict[str, object]:
        (text,) = self.told[Channel.ERROR]
        status: dict[str, object] = json.loads(text)
        return status


async def run(client: FakeClient, command: FakeCommand | CloudError, asked: Wanted = ASKED) -> None:
    async def start() -> FakeCommand:
        if isinstance(command, CloudError):
            raise command
        return command

    await run_session(client, start, asked, LoopClock())
    assert client.aborted
    if isinstance(command, FakeCommand):
        assert command.closed == 1


async def test_input_goes_in_output_comes_out_and_the_end_of_input_ends_cat() -> None:
    client = FakeClient(Message(Channel.STDIN, b"one"), Message(Channel.STDIN, b"two", closed=True))
    await run(client, FakeCommand(echo=True))
    assert client.told[Channel.STDOUT] == [b"one", b"two"]
    assert client.status["status"] == "Success"
    assert client.ended


async def test_exit_code_and_both_outputs() -> None:
    client = FakeClient()
    await run(client, FakeCommand((STDOUT, b"out"), (STDERR, b"err"), code=3))
    assert (client.told[Channel.STDOUT], client.told[Channel.STDERR]) == ([b"out"], [b"err"])
    assert client.status["reason"] == "NonZeroExitCode"


async def test_before_v4_success_is_silent() -> None:
    client = FakeClient(protocol=V1)
    await run(client, FakeCommand())
    assert Channel.ERROR not in client.told
    assert client.ended


async def test_output_that_nobody_asked_for_is_dropped() -> None:
    client = FakeClient()
    asked = Wanted("c", stdin=False, stdout=False, stderr=True, tty=False, trouble=TROUBLE)
    await run(client, FakeCommand((STDOUT, b"out"), (STDERR, b"err")), asked)
    assert client.told.keys() == {Channel.STDERR, Channel.ERROR}


async def test_input_that_was_not_asked_for_is_dropped() -> None:
    command = FakeCommand((STDOUT, b"x"))
    await run(
        FakeClient(Message(Channel.STDIN, b"no")),
        command,
        Wanted("c", stdin=False, stdout=True, stderr=True, tty=False, trouble=TROUBLE),
    )
    assert command.stdin.empty()


async def test_large_output_is_sent_in_pieces() -> None:
    client = FakeClient()
    data = bytes(range(256)) * 1024
    await run(client, FakeCommand((STDOUT, data)))
    assert b"".join(client.told[Channel.STDOUT]) == data
    assert max(map(len, client.told[Channel.STDOUT])) == PIECE


async def test_terminal_sizes_and_nonsense_after_them() -> None:
    sizes = [b'{"Width":80,"Hei', b'ght":24}', b"}nonsense", b'{"Width":1,"Height":1}']
    client = FakeClient(*(Message(Channel.RESIZE, size) for size in sizes), Message(Channel.STDIN, b"x", closed=True))
    command = FakeCommand(echo=True)
    await run(client, command, Wanted("c", stdin=True, stdout=True, stderr=False, tty=True, trouble=TROUBLE))
    assert command.sizes == [(80, 24)]
    assert client.told[Channel.STDOUT] == [b"x"]


async def test_a_client_that_leaves_ends_the_command() -> None:
    client = FakeClient(Message(Channel.STDIN, b"x"), leaves=True)
    await run(client, FakeCommand(echo=True))
    assert Channel.ERROR not in client.told


async def test_a_client_that_is_lost_while_output_flows_ends_the_command() -> None:
    client = FakeClient()
    client.dead = True
    await run(client, FakeCommand((STDOUT, b"x"), echo=True))


async def test_a_breach_of_the_protocol_ends_the_command() -> None:
    client = FakeClient()
    client.breach = True
    await run(client, FakeCommand(echo=True))


async def test_a_command_that_cannot_start_is_told_on_the_error_channel() -> None:
    client = FakeClient()
    await run(client, CloudError(CloudCode.INCORRECT_STATUS, "container c is not running"))
    assert (
        client.status["message"]
        == "Internal error occurred: error executing command in container: container c is not running"
    )
    assert client.status["code"] == 500
    assert client.ended


async def test_an_engine_that_goes_away_in_between_is_told_too() -> None:
    client = FakeClient(Message(Channel.STDIN, b"x"))
    command = FakeCommand(echo=True)
    command.broken = CloudError(CloudCode.UNAVAILABLE, "engine away")
    await run(client, command)
    assert client.status["message"] == "Internal error occurred: error executing command in container: engine away"


async def test_a_bug_is_not_hidden_and_leaves_nothing() -> None:
    class Broken(FakeCommand):
        async def wait(self) -> int:
            raise ZeroDivisionError

    command = Broken()
    with pytest.raises(ExceptionGroup):
        await run(FakeClient(), command)
    assert command.closed == 1


async def test_cancellation_closes_the_command() -> None:
    client, command = FakeClient(), FakeCommand(echo=True)

    async def start() -> FakeCommand:
        return command

    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(run_session(client, start, ASKED, LoopClock()))
        while not client.told and not command.stdin._getters:  # type: ignore[attr-defined]
            await LoopClock().sleep(0)
        task.cancel()
    assert (command.closed, client.aborted) == (1, True)


@pytest.mark.looptime
async def test_no_sign_of_life_for_four_hours_ends_the_command() -> None:
    client, command = FakeClient(Message(Channel.STDIN, b"x")), FakeCommand(echo=True)
    began = asyncio.get_running_loop().time()
    await run(client, command)
    assert IDLE_SECONDS <= asyncio.get_running_loop().time() - began <= IDLE_SECONDS + 120
    assert client.pings > 100
    assert not client.ended


@pytest.mark.looptime
async def test_a_client_that_is_lost_is_noticed_by_pings() -> None:
    client = FakeClient()
    client.dead = True
    began = asyncio.get_running_loop().time()
    await run(client, FakeCommand(echo=True))
    assert asyncio.get_running_loop().time() - began < 60


@pytest.mark.looptime
async def test_a_client_that_does_not_close_is_cut() -> None:
    client = FakeClient()
    client.closes = False
    began = asyncio.get_running_loop().time()
    await run(client, FakeCommand())
    assert asyncio.get_running_loop().time() - began == pytest.approx(LINGER_SECONDS)
