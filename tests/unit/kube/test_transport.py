"""How many requests are under way at a time, and who waits."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from provider.kube.client import HttpKubeApi
from provider.kube.transport import CONNECTIONS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

MORE = 3 * CONNECTIONS


class Counted:
    """Answers a request when it is let, a watch at once with its first line."""

    def __init__(self) -> None:
        self.now = self.most = self.done = 0
        self.arrived = asyncio.Condition()
        self.let = asyncio.Event()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if "watch" in request.query:
            answer = web.StreamResponse()
            await answer.prepare(request)
            await answer.write(b'{"type":"BOOKMARK","object":{}}\n')
            await self.let.wait()
            return answer
        async with self.arrived:
            self.now += 1
            self.most = max(self.most, self.now)
            self.arrived.notify_all()
        await self.let.wait()
        self.now -= 1
        self.done += 1
        return web.json_response({"metadata": {}})


@pytest.fixture
async def server() -> AsyncIterator[tuple[Counted, str]]:
    counted = Counted()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", counted.handle)
    async with TestServer(app, shutdown_timeout=0) as running:
        yield counted, str(running.make_url("/")).rstrip("/")


async def test_more_requests_than_places_wait_for_each_other_and_a_watch_for_none(
    server: tuple[Counted, str], tmp_path: Path
) -> None:
    counted, url = server
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(
        f"{{clusters: [{{name: c, cluster: {{server: '{url}'}}}}], users: [{{name: u, user: {{}}}}], "
        "contexts: [{name: c, context: {cluster: c, user: u}}], current-context: c}"
    )
    api = await HttpKubeApi.from_kubeconfig(str(kubeconfig))
    try:
        async with asyncio.timeout(30), asyncio.TaskGroup() as group:
            for number in range(MORE):
                group.create_task(api.get(f"/api/v1/namespaces/n-{number}"))
            async with counted.arrived:
                await counted.arrived.wait_for(lambda: counted.now == CONNECTIONS)
            watch = api.watch("/api/v1/pods", {}, 10)
            assert (await anext(watch))["type"] == "BOOKMARK"
            counted.let.set()
            await watch.aclose()
    finally:
        await api.close()
    assert (counted.most, counted.done) == (CONNECTIONS, MORE)
