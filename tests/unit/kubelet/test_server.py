"""The kubelet port over real sockets with TLS and client certificates, in front of a scripted cloud."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from provider.clock import LoopClock, SystemClock
from provider.cloud.backend import LogOptions
from provider.cluster.pki import Pki
from provider.model.capacity import BackendHealth
from provider.model.errors import CloudCode, CloudError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from provider.kube.auth_review import User
    from provider.model.ids import PodUid


async def test_who_a_certificate_names(listening: Any, users: list[User]) -> None:
    async with listening() as port:
        assert await port.get("/healthz") == (200, "ok")
        (user,) = users
        assert (user.name, user.groups) == ("kube-apiserver", ("system:masters", "ops", "system:authenticated"))
        ((key, (fingerprint,)),) = user.extra
        assert key == "authentication.kubernetes.io/credential-id"
        assert fingerprint.startswith("X509SHA256=")


async def test_who_may_not(listening: Any) -> None:
    async with listening() as port:
        nobody = port.context(None)
        assert await port.get("/pods", nobody) == (401, "Unauthorized")
        assert await port.get("/nothing", nobody) == (401, "Unauthorized")
        assert await port.get("/pods", nobody, headers={"Authorization": "Bearer bad"}) == (401, "Unauthorized")
        assert (await port.get("/healthz", nobody, headers={"Authorization": "Bearer good"}))[0] == 200
        stranger = port.context(port._pki.client(port._ca, "stranger", "stranger"))
        status, text = await port.get("/exec/ns/p/c", stranger)
        assert (status, text) == (403, "Forbidden (user=stranger, verb=get, resource=nodes, subresource(s)=[proxy])\n")


async def test_certificates_of_others_are_refused_in_the_handshake(listening: Any, tmp_path: Path) -> None:
    async with listening() as port:
        other = Pki(tmp_path / "other", SystemClock())
        foreign = other.client(other.authority("ca"), "admin", "admin", ["system:masters"])
        server = port._pki.server(port._ca, "not-a-client", ["x"], [])
        for pair in (foreign, server):
            with pytest.raises(aiohttp.ClientError):
                await port.get("/healthz", port.context(pair))


async def test_paths_and_methods(listening: Any) -> None:
    async with listening() as port:
        assert await port.get("/nothing") == (404, "404: Page Not Found")
        assert await port.get("/containerLogs/ns/p") == (404, "404: Page Not Found")
        assert await port.get("/pods", method="DELETE") == (405, "405: Method Not Allowed")
        assert (await port.get("/healthz", method="HEAD"))[0] == 403  # HEAD has no verb in upstream's table
        status, text = await port.get("/run/ns/p/c", method="POST")
        assert status == 501
        assert text.startswith("run is not supported by node node-a")


async def test_pods_and_running_pods(listening: Any, cloud: Any) -> None:
    async with listening() as port:
        status, text = await port.get("/pods")
        assert status == 200
        assert json.loads(text)["items"][0]["status"] == cloud.pod["status"]
        for path in ("/runningpods", "/runningpods/"):
            (item,) = json.loads((await port.get(path))[1])["items"]
            assert [each["name"] for each in item["spec"]["containers"]] == ["c"]


async def test_health_is_the_engines(listening: Any, cloud: Any) -> None:
    async with listening() as port:
        assert "[+]engine ok" in (await port.get("/healthz?verbose"))[1]
        cloud.engine = BackendHealth(healthy=False, reason="EngineAway", message="dockerd does not answer")
        status, text = await port.get("/healthz")
        assert status == 500
        assert "[-]engine failed: dockerd does not answer" in text


async def test_logs(listening: Any, cloud: Any) -> None:
    async with listening() as port:
        assert await port.get("/containerLogs/ns/p/c?tailLines=0&timestamps=true") == (200, "one\ntwo\n")
        await port.get("/containerLogs/ns/p/c?tail=5")
        await port.get("/containerLogs/ns/p/c?tail=all")
        cloud.pieces = []
        assert await port.get("/containerLogs/ns/p/c") == (200, "")
    assert [(uid, container) for uid, container, _ in cloud.asked] == [("uid-1", "c")] * 4
    options = [each for _, _, each in cloud.asked]
    assert options == [LogOptions(tail=0, timestamps=True), LogOptions(tail=5), LogOptions(), LogOptions()]


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("/containerLogs/ns/x/c", 404, 'pod "x" does not exist'),
        ("/containerLogs/ns/p/x", 404, 'container "x" not found in pod "p"'),
        ("/containerLogs/ns/p/w", 400, 'container "w" in pod "p" is waiting to start: ContainerCreating'),
        ("/containerLogs/ns/p/c?previous=true", 400, 'previous terminated container "c" in pod "p" not found'),
        ("/containerLogs/ns/p/c?tailLines=x", 400, "tailLines: 'x' is no whole number"),
        ("/containerLogs/ns/p/c?limitBytes=0", 422, "limitBytes: must be greater than or equal to 1"),
    ],
)
async def test_logs_that_are_refused(listening: Any, path: str, status: int, text: str) -> None:
    async with listening() as port:
        assert await port.get(path) == (status, text)


@pytest.mark.parametrize(("code", "status"), [(CloudCode.NOT_FOUND, 400), (CloudCode.UNAVAILABLE, 500)])
async def test_what_the_cloud_refuses(listening: Any, cloud: Any, code: CloudCode, status: int) -> None:
    cloud.refusal = CloudError(code, "gone with the engine")
    async with listening() as port:
        assert await port.get("/containerLogs/ns/p/c") == (status, "gone with the engine")


async def test_following_ends_with_the_container(listening: Any, cloud: Any) -> None:
    path = "/containerLogs/ns/p/c?follow=true"
    async with (
        listening() as port,
        aiohttp.ClientSession() as session,
        session.get(port.url + path, ssl=port.admin) as response,
    ):
        assert await response.content.readline() == b"one\n"  # before the stream has ended
        await cloud.reading.wait()
        cloud.hold.set()
        assert await response.content.read() == b"two\n"
    assert cloud.left.is_set()


async def test_a_silent_container_is_followed_at_once_and_left_when_the_reader_leaves(
    listening: Any, cloud: Any
) -> None:
    cloud.pieces = []
    async with listening() as port:
        async with aiohttp.ClientSession() as session:
            response = await session.get(port.url + "/containerLogs/ns/p/c?follow=true", ssl=port.admin)
            assert response.status == 200
            await cloud.reading.wait()
            assert not cloud.left.is_set()
            response.close()
        await cloud.left.wait()


async def test_an_error_after_the_first_bytes_stands_in_the_text(listening: Any, cloud: Any) -> None:
    async def logs(uid: PodUid, container: str, options: LogOptions) -> AsyncGenerator[bytes, None]:
        yield b"one\n"
        raise CloudError(CloudCode.UNAVAILABLE, "engine away")

    cloud.logs = logs  # type: ignore[method-assign]
    async with listening() as port:
        assert await port.get("/containerLogs/ns/p/c") == (200, "one\nengine away")
        assert await port.get("/containerLogs/ns/p/c?follow=1") == (200, "one\nengine away")


async def test_a_reader_that_is_slow_holds_the_cloud_back(listening: Any, cloud: Any) -> None:
    sent = 0

    async def logs(uid: PodUid, container: str, options: LogOptions) -> AsyncGenerator[bytes, None]:
        nonlocal sent
        try:
            for _ in range(4096):
                sent += 1 << 16
                yield bytes(1 << 16)
        finally:
            cloud.left.set()

    cloud.logs = logs  # type: ignore[method-assign]
    async with listening() as port:
        reader, writer = await asyncio.open_connection(port.host, port.port, ssl=port.admin, limit=1 << 16)
        writer.write(b"GET /containerLogs/ns/p/c HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        before = -1
        while before != sent:  # until nothing moves any more
            before = sent
            for _ in range(2000):
                await LoopClock().sleep(0)
        assert sent < 64 << 20  # sockets' buffers, not 256 MiB
        writer.transport.abort()
        await cloud.left.wait()


async def test_shutting_down_cuts_what_is_open(listening: Any, cloud: Any) -> None:
    async with aiohttp.ClientSession() as session:
        async with listening() as port:
            response = await session.get(port.url + "/containerLogs/ns/p/c?follow=true", ssl=port.admin)
            await cloud.reading.wait()
        assert cloud.left.is_set()
        response.close()
