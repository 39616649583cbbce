"""The client against a real HTTP server on the loopback."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from kubernetes_asyncio.client import Configuration

from provider.kube import client as client_module
from provider.kube.client import HttpKubeApi, KubeError
from provider.kube.transport import Transport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Server:
    """Answers what the test put there, and keeps what was asked."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, dict[str, str], str, Any]] = []
        self.answers: list[web.Response] = []
        self.chunks: list[bytes] = []
        self.breaks_off = False

    async def handle(self, request: web.Request) -> web.StreamResponse:
        raw = await request.text()
        body = json.loads(raw) if raw else None
        content_type = request.headers.get("Content-Type", "")
        self.seen.append((request.method, dict(request.query), content_type, body))
        if request.query.get("watch") == "true" and self.chunks:
            response = web.StreamResponse()
            await response.prepare(request)
            for chunk in self.chunks:
                await response.write(chunk)
            if self.breaks_off and request.transport is not None:
                request.transport.abort()
            return response
        return self.answers.pop(0)


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
async def api(server: Server) -> AsyncIterator[HttpKubeApi]:
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", server.handle)
    async with TestServer(app) as running:
        configuration = Configuration(host=str(running.make_url("")).rstrip("/"))
        client = HttpKubeApi(Transport(configuration))
        yield client
        await client.close()


async def test_list_joins_pages_without_repeating_the_version(server: Server, api: HttpKubeApi) -> None:
    server.answers = [
        web.json_response({"metadata": {"continue": "t", "resourceVersion": "5"}, "items": [1]}),
        web.json_response({"metadata": {"resourceVersion": "5"}, "items": [2]}),
    ]
    listed = await api.list("/api/v1/pods", {"resourceVersion": "0", "limit": "1"})
    assert listed["items"] == [1, 2]
    assert [query for _, query, _, _ in server.seen] == [
        {"resourceVersion": "0", "limit": "1"},
        {"limit": "1", "continue": "t"},
    ]


async def test_status_becomes_a_typed_error(server: Server, api: HttpKubeApi) -> None:
    status = {"kind": "Status", "reason": "TooManyRequests", "message": "slow down"}
    server.answers = [web.json_response(status, status=429, headers={"Retry-After": "3"})]
    with pytest.raises(KubeError) as caught:
        await api.get("/api/v1/pods/x")
    error = caught.value
    assert (error.code, error.reason, error.message, error.retry_after) == (429, "TooManyRequests", "slow down", 3.0)


async def test_a_proxy_page_is_an_error_too(server: Server, api: HttpKubeApi) -> None:
    server.answers = [web.Response(status=502, text="<html>")]
    with pytest.raises(KubeError, match="502 Bad Gateway: <html>"):
        await api.get("/x")


async def test_patch_and_delete_say_how(server: Server, api: HttpKubeApi) -> None:
    server.answers = [web.json_response({}), web.json_response({})]
    await api.patch("/x/status", {"a": 1}, "strategic")
    await api.delete("/x", uid="u", grace_seconds=0)
    options = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": "u"}, "gracePeriodSeconds": 0}
    assert server.seen == [
        ("PATCH", {}, "application/strategic-merge-patch+json", {"a": 1}),
        ("DELETE", {}, "application/json", options),
    ]


async def test_watch_puts_lines_together(server: Server, api: HttpKubeApi) -> None:
    large = {"type": "ADDED", "object": {"blob": "x" * 3_000_000}}
    raw = json.dumps(large).encode()
    server.chunks = [raw[:10], raw[10:], b'\n{"type":"BOOK', b'MARK","object":{}}\n{"type":"DELETED","object":{}}\n']
    lines = [line async for line in api.watch("/x", {"resourceVersion": "7"}, 5)]
    assert lines[0] == large
    assert [line["type"] for line in lines[1:]] == ["BOOKMARK", "DELETED"]
    assert server.seen[0][1] == {"resourceVersion": "7", "watch": "true"}


async def test_watch_refused_is_an_error(server: Server, api: HttpKubeApi) -> None:
    server.answers = [web.json_response({"reason": "Expired", "message": "old"}, status=410)]
    with pytest.raises(KubeError, match="410 Expired"):
        await anext(aiter(api.watch("/x", {}, 5)))


async def test_no_server_is_an_error_of_code_0() -> None:
    client = HttpKubeApi(Transport(Configuration(host="http://127.0.0.1:1")))
    with pytest.raises(KubeError) as caught:
        await client.get("/x")
    await client.close()
    assert caught.value.code == 0


async def test_a_broken_connection_and_silence_are_told_in_words(server: Server, api: HttpKubeApi) -> None:
    server.chunks, server.breaks_off = [b'{"type":"ADDED","object":{}}\n'], True
    watch = api.watch("/x", {}, 5)
    assert (await anext(watch))["type"] == "ADDED"
    with pytest.raises(KubeError, match="the connection broke off") as caught:
        await anext(watch)
    assert caught.value.code == 0
    assert client_module._no_answer(TimeoutError()).message == "no answer in time"
