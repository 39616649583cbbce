"""A way to the API server that goes silent: connections stay open, requests are taken, nothing ever comes back."""

from __future__ import annotations

import asyncio
import json
import socket
from random import Random  # noqa: TID251 (a fixed seed)
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from kubernetes_asyncio.client import Configuration

from provider.clock import SystemClock
from provider.kube import client as client_module
from provider.kube.client import IDLE, HttpKubeApi, KubeError
from provider.kube.reflector import Reflector
from provider.kube.transport import PROBE_AFTER_SECONDS, UNANSWERED_SECONDS, Transport, _socket
from tests.support.relay import Relay, tcp_proxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from provider.kube.store import Change

PATH = "/api/v1/pods"
IDLE_SECONDS = 0.3


class Server:
    """One collection; `tell` puts an object into it, and into every watch that goes on."""

    def __init__(self) -> None:
        self.version = 1
        self.items: list[dict[str, Any]] = []
        self.watches = 0
        self.news = asyncio.Condition()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if request.query.get("watch") != "true":
            return web.json_response({"metadata": {"resourceVersion": str(self.version)}, "items": self.items})
        at = int(request.query["resourceVersion"])
        response = web.StreamResponse()
        await response.prepare(request)
        self.watches += 1
        async with self.news:
            self.news.notify_all()
            while True:
                for item in self.items:
                    if int(item["metadata"]["resourceVersion"]) > at:
                        await response.write(json.dumps({"type": "ADDED", "object": item}).encode() + b"\n")
                at = self.version
                await self.news.wait()

    async def tell(self, uid: str) -> None:
        async with self.news:
            self.version += 1
            self.items.append({"metadata": {"uid": uid, "resourceVersion": str(self.version)}})
            self.news.notify_all()

    async def watched(self, more_than: int) -> None:
        async with self.news:
            await self.news.wait_for(lambda: self.watches > more_than)


class Way:
    """The server, the relay before it, and a client that knows the relay only."""

    def __init__(self, server: Server, proxy: Relay, api: HttpKubeApi) -> None:
        self.server, self.proxy, self.api = server, proxy, api


@pytest.fixture
async def way() -> AsyncIterator[Way]:
    server, app = Server(), web.Application()
    app.router.add_route("*", "/{tail:.*}", server.handle)
    async with TestServer(app, shutdown_timeout=0) as running:
        assert running.port is not None
        with tcp_proxy(running.port) as proxy:
            api = HttpKubeApi(Transport(Configuration(host=f"http://127.0.0.1:{proxy.port}")))
            yield Way(server, proxy, api)
            await api.close()


async def test_a_watch_that_has_gone_silent_is_an_error_with_its_own_reason(way: Way) -> None:
    await way.server.tell("a")
    watch = way.api.watch(PATH, {"resourceVersion": "1"}, 2)  # long enough for the first line on a busy machine
    assert (await anext(watch))["object"]["metadata"]["uid"] == "a"
    way.proxy.silence()
    await way.server.tell("b")
    with pytest.raises(KubeError, match="nothing has come on this watch") as caught:
        await anext(watch)
    assert (caught.value.code, caught.value.reason) == (0, IDLE)
    assert way.proxy.swallowed > 0


async def test_a_watch_that_does_not_begin_has_failed(way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    await way.api.list(PATH)  # there is a connection in the pool
    way.proxy.silence()
    monkeypatch.setattr(client_module, "REQUEST_SECONDS", IDLE_SECONDS)
    with pytest.raises(KubeError, match="no answer in time") as caught:
        await anext(way.api.watch(PATH, {"resourceVersion": "1"}, 3600))
    assert caught.value.code == 0
    assert caught.value.reason != IDLE


async def test_a_request_ends_when_nothing_comes_back(way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    await way.api.list(PATH)
    way.proxy.silence()
    monkeypatch.setattr(client_module, "REQUEST_SECONDS", IDLE_SECONDS)
    with pytest.raises(KubeError, match="no answer in time"):
        await way.api.create(PATH, {"metadata": {"name": "x"}})


async def test_a_reflector_learns_over_a_new_connection_what_the_old_one_lost(way: Way) -> None:
    seen: asyncio.Queue[str] = asyncio.Queue()

    async def receive(change: Change) -> None:
        await seen.put(change.new["metadata"]["uid"])

    reflector = Reflector(way.api, PATH, {}, receive, clock=SystemClock(), random=Random(1), idle_seconds=IDLE_SECONDS)
    await way.server.tell("before")
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        running = group.create_task(reflector.run())
        assert await seen.get() == "before"
        await way.server.watched(0)
        way.proxy.silence()
        await way.server.tell("during")
        way.proxy.accepted.clear()
        assert await asyncio.to_thread(way.proxy.accepted.wait, 15)  # it has asked again, and is not answered
        way.proxy.restore()
        assert await seen.get() == "during"
        await way.server.tell("after")
        assert await seen.get() == "after"
        running.cancel()


async def test_every_connection_is_probed_and_given_up(way: Way) -> None:
    transport = way.api._open()
    connector = transport._session.connector
    await way.api.list(PATH)
    assert connector is not None
    (pooled,) = [entry for entries in connector._conns.values() for entry in entries]  # type: ignore[attr-defined]
    found = pooled[0].transport.get_extra_info("socket")
    options = {
        "alive": found.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE),
        "idle": found.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE),
        "unanswered": found.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT),
    }
    assert options == {"alive": 1, "idle": PROBE_AFTER_SECONDS, "unanswered": UNANSWERED_SECONDS * 1000}
    assert PROBE_AFTER_SECONDS + UNANSWERED_SECONDS < 60


def test_sockets_of_version_6_are_probed_too() -> None:
    with _socket((socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("::1", 1, 0, 0))) as made:
        assert made.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == UNANSWERED_SECONDS * 1000
