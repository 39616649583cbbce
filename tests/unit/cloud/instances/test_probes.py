"""Probes over real sockets on loopback: what they send, what they make of answers, in the kubelet's words."""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import TYPE_CHECKING, Any

import pytest

from provider.cloud.instances.events import Outcome, Probed, ProbeKind
from provider.cloud.instances.http_get import url_of
from provider.cloud.instances.instructions import RunProbe
from provider.cloud.instances.probes import GrpcHealth, run_probe
from provider.cloud.runtime.base import FaultKind, RuntimeFault
from provider.model.ids import PodUid, ZoneId
from provider.model.probe import Action, BrokenAction, ExecAction, GrpcAction, HttpAction, Probe, TcpAction
from provider.model.request import ContainerSpec, InstanceRequest
from tests.support.certificates import self_signed
from tests.unit.cloud.instances.loopback import ADDRESS, Loopback, answer, answering

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path


async def no_check(*_: object) -> GrpcHealth:
    raise AssertionError("no gRPC probe here")


async def probed(
    action: Action, *, runtime: Loopback | None = None, seconds: float = 5, check: Any = no_check
) -> Probed:
    spec = ContainerSpec(name="a", image="i", readiness=Probe(action, timeout=seconds))
    request = InstanceRequest(uid=PodUid("u"), zone=ZoneId("z"), name="p", namespace="n", containers=(spec,))
    wanted = RunProbe("a", 0, ProbeKind.READINESS)
    return await run_probe(Loopback() if runtime is None else runtime, request, ADDRESS, wanted, check)


@pytest.mark.parametrize("status", [200, 204, 299])
async def test_two_hundreds_are_success(status: int) -> None:
    async with answering(answer(f"{status} Fine", b"ok")) as (port, _):
        assert await probed(HttpAction(port)) == Probed("a", 0, ProbeKind.READINESS, Outcome.SUCCESS, "ok")


@pytest.mark.parametrize("status", [400, 404, 500, 503])
async def test_an_error_is_told_by_its_number_without_the_body(status: int) -> None:
    async with answering(answer(f"{status} Bad", b"a secret")) as (port, _):
        found = await probed(HttpAction(port))
    assert (found.outcome, found.message) == (Outcome.FAILURE, f"HTTP probe failed with statuscode: {status}")


async def test_the_request_is_the_kubelets() -> None:
    async with answering(answer("200 OK")) as (port, heard):
        await probed(HttpAction(port, "/health?full=1"))
    assert heard[0].decode().split("\r\n") == [
        "GET /health?full=1 HTTP/1.1",
        f"Host: {ADDRESS}:{port}",
        "User-Agent: kube-probe/1.37",
        "Accept: */*",
        "Connection: close",
        "",
        "",
    ]


async def test_own_headers_replace_and_repeat() -> None:
    headers = (("x-b", "1"), ("X-B", "2"), ("host", "shop.example"), ("user-agent", "mine"), ("Accept", ""))
    async with answering(answer("200 OK")) as (port, heard):
        await probed(HttpAction(port, headers=headers))
    lines = heard[0].decode().split("\r\n")
    assert lines[1:-2] == ["Host: shop.example", "User-Agent: mine", "X-B: 1", "X-B: 2", "Connection: close"]


async def test_a_header_cannot_smuggle_another_line() -> None:
    async with answering(answer("200 OK")) as (port, heard):
        found = await probed(HttpAction(port, headers=(("X-A", "1\r\nX-Evil: 2"),)))
    assert found.message == f'Get "http://{ADDRESS}:{port}/": net/http: invalid header field value for "X-A"'
    assert heard == []


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("ok", "/ok"),
        ("/a b", "/a%20b"),
        ("/a%20b?c=d%26", "/a%20b?c=d%26"),
        ("/x#part", "/x"),
        ("/100%", "/100%25"),
        ("/a\nb?c", "/a%0Ab%3Fc"),
        ("/ümlaut", "/%C3%BCmlaut"),
    ],
)
def test_a_path_becomes_a_url_as_gos(path: str, target: str) -> None:
    assert url_of(HttpAction(80, path), "10.0.0.1") == f"http://10.0.0.1:80{target}"


async def test_a_host_that_fits_in_no_url_cannot_be_probed() -> None:
    found = await probed(HttpAction(80, host="a b"))
    assert found.outcome is Outcome.ERRORED
    assert found.message.startswith("probe errored and resulted in unknown state: parse ")


async def test_redirects_are_followed_on_the_same_host() -> None:
    async with answering(answer("302 Found", b"", "Location: /next"), answer("200 OK", b"there")) as (port, heard):
        found = await probed(HttpAction(port))
    assert (found.outcome, found.message) == (Outcome.SUCCESS, "there")
    assert heard[1].startswith(b"GET /next ")


async def test_a_redirect_to_another_host_is_a_warning() -> None:
    async with answering(answer("301 Moved", b"over there", "Location: http://other.example/")) as (port, heard):
        found = await probed(HttpAction(port))
    assert found.outcome is Outcome.WARNING
    assert found.message == "Probe terminated redirects, Response body: over there"
    assert len(heard) == 1


@pytest.mark.parametrize("status", ["304 Not Modified", "302 Found"])
async def test_a_redirect_to_nowhere_is_a_warning(status: str) -> None:
    async with answering(answer(status)) as (port, _):
        assert (await probed(HttpAction(port))).outcome is Outcome.WARNING


async def test_endless_redirects_end() -> None:
    async with answering(answer("307 Again", b"", "Location: /again")) as (port, heard):
        found = await probed(HttpAction(port))
    assert found.message == 'Get "/again": stopped after 10 redirects'
    assert len(heard) == 10


async def test_a_chunked_body_is_read() -> None:
    chunks = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    async with answering(chunks) as (port, _):
        assert (await probed(HttpAction(port))).message == "abcde"


async def test_a_body_that_breaks_off_could_not_be_probed() -> None:
    async with answering(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc") as (port, heard):
        found = await probed(HttpAction(port))
    assert found.outcome is Outcome.ERRORED
    assert found.message == "probe errored and resulted in failure state: unexpected EOF"
    assert len(heard) == 3


async def test_a_long_body_is_cut() -> None:
    async with answering(answer("200 OK", b"x" * 100_000)) as (port, _):
        assert len((await probed(HttpAction(port))).message) == 10 * 1024


@pytest.mark.parametrize(
    ("said", "text"),
    [(b"", "EOF"), (b"hello\r\n\r\n", 'malformed HTTP response "hello"'), (b"HTTP/1.1 200", "unexpected EOF")],
)
async def test_what_is_no_http_is_a_failure(said: bytes, text: str) -> None:
    async with answering(said) as (port, _):
        found = await probed(HttpAction(port))
    assert found.outcome is Outcome.FAILURE
    assert found.message.startswith(f'Get "http://{ADDRESS}:{port}/": ')
    assert found.message.endswith(text)


async def test_a_server_that_does_not_answer_times_out() -> None:
    async with answering(b"", hold=True) as (port, _):
        found = await probed(HttpAction(port), seconds=0.2)
    text = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
    assert found.message == f'Get "http://{ADDRESS}:{port}/": {text}'


async def test_https_takes_any_certificate(tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*self_signed(tmp_path, "somebody.else"))
    async with answering(answer("200 OK", b"safe"), context=context) as (port, _):
        found = await probed(HttpAction(port, scheme="HTTPS"))
    assert (found.outcome, found.message) == (Outcome.SUCCESS, "safe")


async def test_https_to_a_plain_server_says_so() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(serve, ADDRESS, 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        found = await probed(HttpAction(port, scheme="HTTPS"))
    assert found.message == f'Get "https://{ADDRESS}:{port}/": http: server gave HTTP response to HTTPS client'


def free_port() -> int:
    with socket.socket() as one:
        one.bind((ADDRESS, 0))
        port: int = one.getsockname()[1]
        return port


async def test_nobody_listens() -> None:
    port = free_port()
    text = f"dial tcp {ADDRESS}:{port}: connect: connection refused"
    assert (await probed(TcpAction(port))).message == text
    assert (await probed(HttpAction(port))).message == f'Get "http://{ADDRESS}:{port}/": {text}'


async def test_a_connection_is_enough_for_tcp() -> None:
    async with answering(b"") as (port, _):
        assert (await probed(TcpAction(port))).outcome is Outcome.SUCCESS


@pytest.mark.parametrize("action", [TcpAction(1), HttpAction(1)])
async def test_an_engine_that_is_away_says_nothing_about_the_container(action: Action) -> None:
    runtime = Loopback()
    runtime.fault = RuntimeFault(FaultKind.UNAVAILABLE, "engine away")
    found = await probed(action, runtime=runtime)
    assert found.outcome is Outcome.ERRORED
    assert found.message == "probe errored and resulted in unknown state: engine away"
    assert runtime.asked == 3


async def test_a_command_in_a_container_that_does_not_run_cannot_be_probed() -> None:
    found = await probed(ExecAction(("true",)))
    assert found.outcome is Outcome.ERRORED
    assert found.message.endswith("container a is not running")


async def test_grpc_is_asked_at_the_pods_address() -> None:
    asked: list[tuple[str, str, float]] = []

    async def check(
        dial: Callable[[float], Awaitable[socket.socket]], address: str, service: str, seconds: float
    ) -> GrpcHealth:
        (await dial(seconds)).close()
        asked.append((address, service, seconds))
        return GrpcHealth(serving=service == "up", text="because")

    async with answering(b"") as (port, _):
        up = await probed(GrpcAction(port, "up"), check=check)
        down = await probed(GrpcAction(port), check=check)
    assert (up.outcome, down.outcome, down.message) == (Outcome.SUCCESS, Outcome.FAILURE, "because")
    assert asked == [(f"{ADDRESS}:{port}", "up", 5), (f"{ADDRESS}:{port}", "", 5)]


async def test_a_port_that_there_is_not_says_nothing_about_the_container() -> None:
    found = await probed(BrokenAction('port "web" not found'))
    assert found.outcome is Outcome.ERRORED
    assert found.message == 'probe errored and resulted in unknown state: port "web" not found'
