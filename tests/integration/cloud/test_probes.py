"""Probes of every kind against programs in real containers."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import grpc
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from provider.cloud.runtime.docker_engine.client import open_client
from provider.cloud.runtime.docker_engine.network_namespace import listening_socket
from provider.model.instance import ContainerPhase
from provider.model.probe import ExecAction, GrpcAction, HttpAction, Probe, TcpAction
from provider.model.request import ContainerSpec, RestartPolicy
from tests.integration.cloud.worlds import busybox, main, told
from tests.support.carrier import carried

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from provider.model.ids import PodUid
    from tests.support.cloud_worlds import BackendWorld

pytestmark = pytest.mark.integration

SERVER = "mkdir /tmp/w; echo fine >/tmp/w/ok; exec httpd -f -p 8080 -h /tmp/w"


async def started(world: BackendWorld, container: ContainerSpec, policy: RestartPolicy) -> PodUid:
    request = world.request(container, policy=policy)
    await world.backend.create_instance(request)
    return request.uid


async def test_readiness_by_http_and_tcp_follows_startup_by_a_command(world: BackendWorld) -> None:
    container = busybox(
        SERVER,
        startup=Probe(ExecAction(("cat", "/tmp/w/ok")), period=1, failure_threshold=30),
        readiness=Probe(HttpAction(8080, "/ok"), period=1),
        liveness=Probe(TcpAction(8080), period=1),
    )
    uid = await started(world, container, RestartPolicy.NEVER)
    ready = await world.until_instance(uid, lambda one: main(one).ready)
    assert main(ready).started
    await world.shell(uid, "main", "rm /tmp/w/ok")
    await world.until_instance(uid, lambda one: not main(one).ready)
    assert ("Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 404") in told(world, uid)
    assert main(await world.backend.describe_instance(uid)).restarts == 0


async def test_liveness_ends_a_container_with_the_probes_own_grace(world: BackendWorld) -> None:
    container = busybox(
        "trap '' TERM; while :; do sleep 0.1; done", liveness=Probe(TcpAction(8080), failure_threshold=1, grace=2)
    )
    request = world.request(container, policy=RestartPolicy.ALWAYS, grace=600)
    await world.backend.create_instance(request)
    again = await world.until_instance(request.uid, lambda one: main(one).restarts == 1, 30)
    last = main(again).last
    assert last is not None
    assert (last.exit_code, last.reason) == (137, "Error")
    events = told(world, request.uid)
    assert ("Killing", "Container main failed liveness probe, will be restarted") in events
    refused = next(text for reason, text in events if reason == "Unhealthy")
    assert refused == f"Liveness probe failed: dial tcp {again.address}:8080: connect: connection refused"


async def test_a_command_that_takes_too_long_leaves_no_process(world: BackendWorld) -> None:
    container = busybox(
        "trap 'exit 0' TERM; while :; do sleep 0.1; done",
        readiness=Probe(ExecAction(("/bin/sh", "-c", "sleep 1003 & sleep 1004")), period=30),
    )
    uid = await started(world, container, RestartPolicy.NEVER)
    text = 'command timed out: "/bin/sh -c sleep 1003 & sleep 1004" timed out after 1s'
    await world.until(lambda: ("Unhealthy", f"Readiness probe failed: {text}") in told(world, uid))
    await world.shell(uid, "main", "while ps -o args | grep '^sleep 100[34]'; do sleep 0.05; done")
    assert main(await world.backend.describe_instance(uid)).state.phase is ContainerPhase.RUNNING


@asynccontextmanager
async def health_server(pid: int, port: int) -> AsyncIterator[health.aio.HealthServicer]:
    """A gRPC server of this process, reached at a port in the namespace of another process."""
    servicer = health.aio.HealthServicer()
    server = grpc.aio.server()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    real = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with carried(real, listening_socket(pid, "0.0.0.0", port)):
            yield servicer
    finally:
        await server.stop(0)


async def test_readiness_by_grpc(world: BackendWorld) -> None:
    probe = Probe(GrpcAction(50_051, "shop"), period=1, failure_threshold=1)
    container = busybox("trap 'exit 0' TERM; while :; do sleep 0.1; done", readiness=probe)
    uid = await started(world, container, RestartPolicy.NEVER)
    running = await world.until_instance(uid, lambda one: main(one).state.phase is ContainerPhase.RUNNING)
    where = f"{running.address}:50051"
    text = f'timeout: failed to connect service "{where}" within 1s: context deadline exceeded'
    await world.until(lambda: ("Unhealthy", f"Readiness probe failed: {text}") in told(world, uid))
    async with health_server(await pid_of(world, uid), 50_051) as servicer:
        await world.until(lambda: any("code = NotFound" in text for _, text in told(world, uid)))
        await servicer.set("shop", health_pb2.HealthCheckResponse.SERVING)
        await world.until_instance(uid, lambda one: main(one).ready)
        await servicer.set("shop", health_pb2.HealthCheckResponse.NOT_SERVING)
        await world.until_instance(uid, lambda one: not main(one).ready)
    text = 'Readiness probe failed: service unhealthy (responded with "NOT_SERVING")'
    assert ("Unhealthy", text) in told(world, uid)


async def pid_of(world: BackendWorld, uid: PodUid) -> int:
    """The number, on this machine, of the pod's first process."""

    seen = await world.below.runtime.inspect(uid)
    assert seen is not None
    async with open_client() as client:
        pid: int = (await client.containers.container(seen.sandbox_id).show())["State"]["Pid"]
        return pid
