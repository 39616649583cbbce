"""Running one lifecycle hook, over real sockets on loopback: what is sent, how a failure is worded."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from provider.clock import SystemClock
from provider.cloud.backend import STDERR, STDOUT
from provider.cloud.instances.events import HookKind
from provider.cloud.instances.hooks import run_hook
from provider.cloud.instances.instructions import RunHook
from provider.cloud.runtime.base import FaultKind, RuntimeFault
from provider.cloud.runtime.simulated_exec import SimulatedExec
from provider.model.ids import PodUid, ZoneId
from provider.model.probe import BrokenAction, ExecAction, Hook, HttpAction, SleepAction, TcpAction
from provider.model.request import ContainerSpec, InstanceRequest
from tests.unit.cloud.instances.loopback import ADDRESS, Loopback, answer, answering

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from provider.cloud.backend import ExecRequest
    from provider.model.instance import Notice

WHERE = 'for Container "a" in Pod "p_n(u)" failed - error:'


class Saying(SimulatedExec):
    """A command that says something and exits so."""

    def __init__(self, code: int, *said: tuple[int, bytes]) -> None:
        self.code = code
        self.said = said
        self.closed = False

    async def output(self) -> AsyncIterator[tuple[int, bytes]]:
        for piece in self.said:
            yield piece

    async def wait(self) -> int:
        return self.code

    async def close(self) -> None:
        self.closed = True


class Commands(Loopback):
    """The runtime of a container in which every command goes the same way."""

    def __init__(self, session: Saying | None = None) -> None:
        super().__init__()
        self.session = session
        self.commands: list[tuple[str, ...]] = []

    async def exec(self, uid: PodUid, attempt: int, request: ExecRequest) -> Any:
        self.commands.append(request.command)
        if self.session is None:
            raise RuntimeFault(FaultKind.START, "container a is not running")
        return self.session


async def hooked(hook: Hook, runtime: Loopback | None = None, told: list[Notice] | None = None) -> str:
    spec = ContainerSpec(name="a", image="i", post_start=hook)
    request = InstanceRequest(uid=PodUid("u"), zone=ZoneId("z"), name="p", namespace="n", containers=(spec,))
    notices: list[Notice] = [] if told is None else told
    wanted = RunHook("a", 0, HookKind.POST_START)
    return await run_hook(runtime or Loopback(), SystemClock(), request, ADDRESS, wanted, notices.append)


async def test_a_command_that_succeeds() -> None:
    runtime = Commands(Saying(0, (STDOUT, b"hello")))
    assert await hooked(ExecAction(("echo", "hello")), runtime) == ""
    assert runtime.commands == [("echo", "hello")]
    assert runtime.session is not None
    assert runtime.session.closed


async def test_a_command_that_fails() -> None:
    runtime = Commands(Saying(7, (STDOUT, b"out\n"), (STDERR, b"err\n")))
    text = f"Exec lifecycle hook ([sh -c x]) {WHERE} command 'sh -c x' exited with 7: err\n, message: \"out\\nerr\\n\""
    assert await hooked(ExecAction(("sh", "-c", "x")), runtime) == text


async def test_a_command_that_cannot_be_run() -> None:
    assert (await hooked(ExecAction(("x",)), Commands())).endswith("container a is not running")


@pytest.mark.parametrize("status", ["200 OK", "404 Not Found", "500 Oops"])
async def test_any_answer_is_a_success(status: str) -> None:
    async with answering(answer(status)) as (port, heard):
        assert await hooked(HttpAction(port, "/bye")) == ""
    assert heard[0].startswith(b"GET /bye HTTP/1.1\r\n")
    assert b"User-Agent: kube-lifecycle/1.37\r\n" in heard[0]


async def test_no_answer_is_a_failure() -> None:
    async with answering(b"") as (port, _):
        found = await hooked(HttpAction(port, "/bye"))
    assert found == f'HTTP lifecycle hook (/bye) {WHERE} Get "http://{ADDRESS}:{port}/bye": EOF'


async def test_a_plain_answer_to_https_is_asked_for_again_without_the_password() -> None:
    heard: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = await reader.read(65_536)
        if first.startswith(b"GET"):
            heard.append(first)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(serve, ADDRESS, 0)
    port = server.sockets[0].getsockname()[1]
    told: list[Notice] = []
    action = HttpAction(port, scheme="HTTPS", headers=(("Authorization", "secret"), ("X-A", "1")))
    async with server:
        assert await hooked(action, told=told) == ""
    assert b"secret" not in heard[0]
    assert b"X-A: 1" in heard[0]
    (notice,) = told
    assert (notice.reason, notice.warning, notice.container) == ("LifecycleHTTPFallback", True, "")
    assert notice.message == (
        f"request to HTTPS lifecycle hook {ADDRESS}:{port} got HTTP response, retry with HTTP succeeded"
    )


async def test_sleep_succeeds() -> None:
    assert await hooked(SleepAction(0)) == ""


async def test_tcp_never_works() -> None:
    assert (await hooked(TcpAction(80))).startswith("Cannot run handler: invalid handler: ")


async def test_a_host_that_fits_in_no_url() -> None:
    assert (await hooked(HttpAction(80, host="a b"))).startswith(f"HTTP lifecycle hook (/) {WHERE} parse ")


async def test_a_port_that_there_is_not() -> None:
    assert (await hooked(BrokenAction('port "web" not found'))).endswith('failed - error: port "web" not found')
