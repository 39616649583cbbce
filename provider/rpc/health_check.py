"""One call of grpc.health.v1.Health/Check, as the kubelet's gRPC probe makes it (pkg/probe/grpc/grpc.go).

gRPC makes its connections itself and takes none that is made already; a probe has to be made from its pod's zone. So
gRPC is given a socket in a directory of its own, and what it says there is carried to a connection of `dial`.
"""

from __future__ import annotations

import asyncio
import socket
import tempfile
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import grpc
from grpc_health.v1 import health_pb2

from provider.cloud.instances.probes import GrpcHealth
from provider.cloud.instances.wording import go_duration
from provider.rpc.options import UNIX

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Dial = Callable[[float], Awaitable[socket.socket]]

_METHOD: Final = "/grpc.health.v1.Health/Check"
_OPTIONS: Final = (
    ("grpc.primary_user_agent", "kube-probe/1.37"),
    ("grpc.enable_http_proxy", 0),
    ("grpc.use_local_subchannel_pool", 1),
)
_PIECE: Final = 64 * 1024


async def check_health(dial: Dial, address: str, service: str, seconds: float) -> GrpcHealth:
    """Ask at `address` (`host:port`, for texts and :authority) within `seconds`; a failure of any kind is an answer.

    RuntimeFault of `dial` is raised: then nothing was asked.
    """
    asked = go_duration(seconds)
    async with _carried(dial, seconds) as path:
        options = (*_OPTIONS, ("grpc.default_authority", address))
        async with grpc.aio.insecure_channel(f"{UNIX}{path}", options=options) as channel:
            until = asyncio.get_running_loop().time() + seconds
            try:
                async with asyncio.timeout(seconds):
                    await channel.channel_ready()
            except TimeoutError:
                text = f'timeout: failed to connect service "{address}" within {asked}: context deadline exceeded'
                return GrpcHealth(serving=False, text=text)
            left = max(0.0, until - asyncio.get_running_loop().time())
            return await _check(channel, service, left, asked)


async def _check(channel: grpc.aio.Channel, service: str, seconds: float, asked: str) -> GrpcHealth:
    check = channel.unary_unary(
        _METHOD,
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )
    try:
        answer = await check(health_pb2.HealthCheckRequest(service=service), timeout=seconds)
    except grpc.aio.AioRpcError as error:
        return GrpcHealth(serving=False, text=_refusal(error, asked))
    if answer.status == health_pb2.HealthCheckResponse.SERVING:
        return GrpcHealth(serving=True, text="service healthy")
    names = health_pb2.HealthCheckResponse.ServingStatus.DESCRIPTOR.values_by_number
    name = names[answer.status].name if answer.status in names else str(answer.status)
    return GrpcHealth(serving=False, text=f'service unhealthy (responded with "{name}")')


def _refusal(error: grpc.aio.AioRpcError, asked: str) -> str:
    said = error.details() or ""
    match error.code():
        case grpc.StatusCode.UNIMPLEMENTED:
            return f"error: this server does not implement the grpc health protocol (grpc.health.v1.Health): {said}"
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            return f"timeout: health rpc did not complete within {asked}"
        case code:
            return f"error: health rpc probe failed: rpc error: code = {_go_name(code)} desc = {said}"


def _go_name(code: grpc.StatusCode) -> str:
    """Return a code as grpc-go prints it: NotFound."""
    name: str = code.name
    return "Canceled" if name == "CANCELLED" else name.title().replace("_", "")


@asynccontextmanager
async def _carried(dial: Dial, seconds: float) -> AsyncIterator[Path]:
    """Yield the path of a socket whose connections are carried to connections of `dial`."""
    faults: list[Exception] = []

    async def serve(listener: socket.socket) -> None:
        async with asyncio.TaskGroup() as group:
            while True:
                near, _ = await asyncio.get_running_loop().sock_accept(listener)
                group.create_task(_carry(near, dial, seconds, faults))

    with tempfile.TemporaryDirectory(prefix="zonelet-probe-") as directory:
        path = Path(directory) / "grpc.sock"
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            listener.listen()
            listener.setblocking(False)
            async with asyncio.TaskGroup() as group:
                serving = group.create_task(serve(listener))
                try:
                    yield path
                finally:
                    serving.cancel()
    if faults:
        raise faults[0]


async def _carry(near: socket.socket, dial: Dial, seconds: float, faults: list[Exception]) -> None:
    """Join a connection with one of `dial` until both have ended; without one, close it: gRPC then tries again."""
    with near:
        try:
            far = await dial(seconds)
        except OSError:
            return
        except Exception as fault:  # noqa: BLE001 - raised to the caller, once gRPC is done
            faults.append(fault)
            return
        far.setblocking(False)
        with far:
            async with asyncio.TaskGroup() as group:
                group.create_task(_pump(near, far))
                group.create_task(_pump(far, near))


async def _pump(source: socket.socket, target: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    try:
        while piece := await loop.sock_recv(source, _PIECE):
            await loop.sock_sendall(target, piece)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        for end in (source, target):
            _cut(end)


def _cut(end: socket.socket) -> None:
    """Let the other direction see that this connection is over."""
    try:
        end.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # it was closed by the other end
