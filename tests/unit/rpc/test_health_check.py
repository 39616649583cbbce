"""The gRPC health check against real servers on loopback, in the words of the kubelet's gRPC probe."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

import grpc
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from provider.cloud.runtime.base import FaultKind, RuntimeFault
from provider.rpc.health_check import check_health

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ADDRESS = "10.0.0.1:50051"
"""what the pod's address is said to be; the connection goes to loopback."""


@asynccontextmanager
async def serving(*, implements_health: bool = True) -> AsyncIterator[int]:
    server = grpc.aio.server()
    if implements_health:
        servicer = health.aio.HealthServicer()
        await servicer.set("", health_pb2.HealthCheckResponse.SERVING)
        await servicer.set("down", health_pb2.HealthCheckResponse.NOT_SERVING)
        health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield port
    finally:
        await server.stop(0)


async def dial(port: int, seconds: float) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), seconds)
    connection.setblocking(False)
    return connection


@pytest.mark.parametrize(
    ("service", "is_serving", "text"),
    [
        ("", True, "service healthy"),
        ("down", False, 'service unhealthy (responded with "NOT_SERVING")'),
        ("unknown", False, "error: health rpc probe failed: rpc error: code = NotFound desc = "),
    ],
)
async def test_a_server_says_how_it_is(service: str, is_serving: bool, text: str) -> None:
    async with serving() as port:
        found = await check_health(partial(dial, port), ADDRESS, service, 10)
    assert found.serving is is_serving
    assert found.text.startswith(text)


async def test_a_server_without_the_protocol() -> None:
    async with serving(implements_health=False) as port:
        found = await check_health(partial(dial, port), ADDRESS, "", 10)
    assert not found.serving
    assert found.text.startswith(
        "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): "
    )


async def test_nobody_listens_until_the_time_is_over() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        found = await check_health(partial(dial, unused.getsockname()[1]), ADDRESS, "", 0.3)
    assert not found.serving
    assert found.text == f'timeout: failed to connect service "{ADDRESS}" within 300ms: context deadline exceeded'


async def test_a_server_that_takes_the_connection_and_says_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        found = await check_health(partial(dial, silent.getsockname()[1]), ADDRESS, "", 0.3)
    assert found.text == f'timeout: failed to connect service "{ADDRESS}" within 300ms: context deadline exceeded'


async def test_a_server_that_does_not_finish() -> None:
    class Slow(health_pb2_grpc.HealthServicer):
        async def Check(self, request: object, context: object) -> None:  # noqa: N802
            await asyncio.Event().wait()

    server = grpc.aio.server()
    health_pb2_grpc.add_HealthServicer_to_server(Slow(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        found = await check_health(partial(dial, port), ADDRESS, "", 1)
    finally:
        await server.stop(0)
    assert found.text == "timeout: health rpc did not complete within 1s"


async def test_what_keeps_it_from_asking_is_raised() -> None:
    async def away(_: float) -> socket.socket:
        raise RuntimeFault(FaultKind.UNAVAILABLE, "engine away")

    with pytest.raises(RuntimeFault, match="engine away"):
        await check_health(away, ADDRESS, "", 0.3)
