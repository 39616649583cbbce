"""The kubelet port of one node: routes, access, and what the kubelet answers (Kubernetes 1.37 pkg/kubelet/server).

Run is refused as not supported; everything else that a kubelet serves and this port does not is not found here.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import msgspec
import structlog
from aiohttp import web

from provider.kubelet.access import Access, AccessDenied
from provider.kubelet.exec import attach_request, check_running, exec_request, serve_attach, serve_exec
from provider.kubelet.logs import LogQueryError, log_options
from provider.kubelet.negotiation import Refused
from provider.kubelet.pod_lookup import NoLogsError, check_logs, find_pod, has_container, pod_list, running_pods
from provider.kubelet.port_forward import serve_port_forward
from provider.kubelet.stats import METRICS_TYPE, NodeStats
from provider.kubelet.streams.upgrade import ClientWatch
from provider.kubelet.tls import certified_user
from provider.model.errors import CloudCode, CloudError

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import AsyncGenerator, AsyncIterator, Callable

    from aiohttp.typedefs import Handler, Middleware

    from provider.clock import Clock
    from provider.cloud.backend import ElasticBackend, LogOptions
    from provider.kube.client import Json
    from provider.model.ids import PodUid, ZoneId

log = structlog.get_logger(__name__)

KEEP_ALIVE_SECONDS: Final = 90.0
"""Kubelet's IdleTimeout: a little less and the API server's pooled connections break under it."""
MAX_HEADER_BYTES: Final = 1 << 20
"""Kubelet's MaxHeaderBytes: the command of an exec stands in the request line."""
SHUTDOWN_SECONDS: Final = 5.0


def kubelet_app(
    node_name: str,
    zone: ZoneId,
    backend: ElasticBackend,
    pods: Callable[[], list[Json]],
    access: Access,
    clock: Clock,
) -> web.Application:
    """Return the application of `node_name`; serve it by `serving`. `pods` gives the node's pods as the API knows them.

    Streams that are open when the application shuts down are cut.
    """
    port = _Port(node_name, zone, backend, pods, clock)
    requests: set[asyncio.Task[Any]] = set()
    app = web.Application(middlewares=[_door(access, requests)])

    async def cut_streams(_app: web.Application) -> None:
        cut = set(requests)
        for task in cut:
            task.cancel()
        if cut:
            await asyncio.wait(cut)

    app.on_shutdown.append(cut_streams)
    router = app.router
    router.add_get("/healthz", port.healthz, allow_head=False)
    router.add_get("/pods", port.pods, allow_head=False)
    for path in ("/runningpods", "/runningpods/"):
        router.add_get(path, port.running_pods, allow_head=False)
    for method in ("GET", "POST"):
        router.add_route(method, "/stats/summary", port.summary)
    router.add_get("/metrics/resource", port.resource_metrics, allow_head=False)
    router.add_get("/containerLogs/{namespace}/{pod}/{container}", port.logs, allow_head=False)
    for rest in ("{namespace}/{pod}/{container}", "{namespace}/{pod}/{uid}/{container}"):
        for method in ("GET", "POST"):
            router.add_route(method, f"/exec/{rest}", port.exec)
            router.add_route(method, f"/attach/{rest}", port.attach)
            router.add_route(method, f"/run/{rest}", port.unsupported)
    for rest in ("{namespace}/{pod}", "{namespace}/{pod}/{uid}"):
        for method in ("GET", "POST"):
            router.add_route(method, f"/portForward/{rest}", port.port_forward)
    return app


@asynccontextmanager
async def serving(app: web.Application, listener: socket.socket, context: ssl.SSLContext) -> AsyncIterator[None]:
    """Serve `app` on a listening socket while the block runs; open streams are cut at its end."""
    runner = web.AppRunner(
        app,
        access_log=None,
        keepalive_timeout=KEEP_ALIVE_SECONDS,
        shutdown_timeout=SHUTDOWN_SECONDS,
        max_line_size=MAX_HEADER_BYTES,
        max_field_size=MAX_HEADER_BYTES,
    )
    await runner.setup()
    try:
        await web.SockSite(runner, listener, ssl_context=context, backlog=128).start()
        yield
    finally:
        open_still = [] if runner.server is None else [each.transport for each in runner.server.connections]
        await runner.cleanup()
        for transport in open_still:  # a close waits up to 30 s for the peer's, which nobody reads any more
            if transport is not None:
                transport.abort()


class _Port:
    """The handlers."""

    def __init__(
        self,
        node_name: str,
        zone: ZoneId,
        backend: ElasticBackend,
        pods: Callable[[], list[Json]],
        clock: Clock,
    ) -> None:
        self._node = node_name
        self._zone = zone
        self._backend = backend
        self._pods = pods
        self._clock = clock
        self._stats = NodeStats(node_name, zone, backend, pods, clock)

    async def healthz(self, request: web.Request) -> web.Response:
        """Answer `ok`, or 500 with the checks (k8s.io/apiserver pkg/server/healthz)."""
        health = await self._backend.health()
        lines = ["[+]ping ok", "[+]engine ok" if health.healthy else f"[-]engine failed: {health.message}"]
        if not health.healthy:
            return _text(500, "\n".join([*lines, "healthz check failed\n"]))
        return _text(200, "\n".join([*lines, "healthz check passed\n"]) if "verbose" in request.query else "ok")

    async def pods(self, _request: web.Request) -> web.Response:
        """Answer the node's pods, with spec and status."""
        return _json(pod_list(self._pods()))

    async def running_pods(self, _request: web.Request) -> web.Response:
        """Answer what runs in the zone, as the cloud tells it."""
        try:
            return _json(running_pods(await self._backend.describe_instances(self._zone)))
        except CloudError as error:
            return _text(500, error.message)

    async def summary(self, request: web.Request) -> web.Response:
        """Answer what the node's pods use."""
        brief = request.query.getall("only_cpu_and_memory", []) == ["true"]
        try:
            return _json(await self._stats.summary(only_cpu_and_memory=brief))
        except CloudError as error:
            log.warning("stats.summary", node=self._node, error=error.message)
            return _text(500, f"Internal Error: {error.message}")

    async def resource_metrics(self, _request: web.Request) -> web.Response:
        """Answer the same for metrics-server and Prometheus; a cloud that cannot be asked is told as a metric."""
        try:
            text = await self._stats.resource_metrics()
        except CloudError as error:
            log.warning("metrics.resource", node=self._node, error=error.message)
            text = self._stats.failed_metrics()
        return web.Response(body=text.encode(), headers={"Content-Type": METRICS_TYPE})

    async def logs(self, request: web.Request) -> web.StreamResponse:
        """Send a container's output."""
        name, container = request.match_info["pod"], request.match_info["container"]
        try:
            options = log_options(_with_tail(request), self._clock.now())
        except LogQueryError as error:
            return _text(error.status, str(error))
        pod = find_pod(self._pods(), request.match_info["namespace"], name)
        if pod is None:
            return _text(404, f'pod "{name}" does not exist')
        if not has_container(pod, container):
            return _text(404, f'container "{container}" not found in pod "{name}"')
        try:
            check_logs(pod, container, previous=options.previous)
            return await self._send_logs(request, pod["metadata"]["uid"], container, options)
        except NoLogsError as error:
            return _text(400, str(error))
        except CloudError as error:
            away = error.code in (CloudCode.UNAVAILABLE, CloudCode.INTERNAL)
            return _text(500 if away else 400, error.message)

    async def _send_logs(
        self, request: web.Request, uid: PodUid, container: str, options: LogOptions
    ) -> web.StreamResponse:
        """Copy the cloud's stream. Raises CloudError as long as nothing was sent."""
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        response.enable_chunked_encoding()
        async with aclosing(self._backend.logs(uid, container, options)) as pieces:
            if not options.follow:
                # The first piece before the headers: what the cloud refuses is a status then.
                first = await anext(pieces, b"")
                await response.prepare(request)
                if first:
                    await response.write(first)
                await self._copy(pieces, response)
                return response
            # A silent container must not keep its reader waiting for the headers, nor the port for its leaving.
            response.force_close()
            await response.prepare(request)
            watch = ClientWatch(request)
            try:
                async with asyncio.TaskGroup() as tasks:
                    leaving = tasks.create_task(_until_gone(watch))
                    await self._copy(pieces, response)
                    leaving.cancel()
            except* ConnectionError:
                log.debug("logs.client_gone", container=container)
        return response

    async def _copy(self, pieces: AsyncGenerator[bytes, None], response: web.StreamResponse) -> None:
        """Write what comes; each write waits while the client is slow. A late error is told in the text (upstream)."""
        try:
            async for piece in pieces:
                await response.write(piece)
        except CloudError as error:
            log.warning("logs.broken", error=error.message)
            await response.write(error.message.encode())

    async def exec(self, request: web.Request) -> web.StreamResponse:
        """Run a command in a container."""
        try:
            asked = exec_request(request.match_info["container"], request.query)
            uid = await self._streamed(request, asked.container)
            return await serve_exec(request, self._backend, uid, asked, self._clock)
        except Refused as refusal:
            return _text(refusal.status, refusal.text, refusal.headers)

    async def attach(self, request: web.Request) -> web.StreamResponse:
        """Join the streams of a container."""
        try:
            asked = attach_request(request.match_info["container"], request.query)
            uid = await self._streamed(request, asked.container)
            return await serve_attach(request, self._backend, uid, asked, self._clock)
        except Refused as refusal:
            return _text(refusal.status, refusal.text, refusal.headers)

    async def _streamed(self, request: web.Request, container: str) -> PodUid:
        """Return the UID of the pod whose running container is meant. Raises Refused."""
        where = request.match_info
        pod = self._pod(request)
        uid: PodUid = pod["metadata"]["uid"]
        if where.get("uid", uid) != uid:
            raise Refused(500, f'container not found ("{container}")')
        await check_running(self._backend, uid, container)
        return uid

    def _pod(self, request: web.Request) -> Json:
        pod = find_pod(self._pods(), request.match_info["namespace"], request.match_info["pod"])
        if pod is None:
            raise Refused(404, "pod does not exist")
        return pod

    async def port_forward(self, request: web.Request) -> web.StreamResponse:
        """Connect a client to ports inside a pod."""
        try:
            pod = self._pod(request)
            uid: PodUid = pod["metadata"]["uid"]
            if request.match_info.get("uid", uid) != uid:
                raise Refused(404, "pod not found")  # noqa: TRY301 - one place answers
            return await serve_port_forward(request, self._backend, uid, pod["metadata"]["name"], self._clock)
        except Refused as refusal:
            return _text(refusal.status, refusal.text, refusal.headers)

    async def unsupported(self, request: web.Request) -> web.Response:
        """Refuse what is not built: /run, which no client of today uses."""
        what = request.path.split("/")[1]
        return _text(501, f"{what} is not supported by node {self._node} (zonelet); exec is")


def _door(access: Access, requests: set[asyncio.Task[Any]]) -> Middleware:
    @web.middleware
    async def door(request: web.Request, handler: Handler) -> web.StreamResponse:
        """Let in whom the reviews allow, then answer as go-restful does where there is no route."""
        resource = request.match_info.route.resource
        # By the route that will serve it, where there is one: no spelling of a path can be judged as another.
        path = request.path if resource is None else resource.canonical
        authorization = request.headers.get("Authorization", "")
        try:
            await access.admit(certified_user(request.transport), authorization, request.method, path)
        except AccessDenied as denied:
            return _text(denied.status, denied.text)
        requests.add(request.task)
        try:
            return await handler(request)
        except web.HTTPMethodNotAllowed as error:
            return _text(405, "405: Method Not Allowed", {"Allow": error.headers["Allow"]})
        except web.HTTPNotFound:
            return _text(404, "404: Page Not Found")
        finally:
            requests.discard(request.task)

    return door


async def _until_gone(watch: ClientWatch) -> None:
    await watch.gone()
    raise ConnectionResetError("the reader has left")


def _with_tail(request: web.Request) -> dict[str, str]:
    """Return the query with `tail`, the old name of tailLines, understood; `all` is none."""
    query = dict(request.query)
    if tail := query.get("tail", ""):
        query["tailLines"] = "" if tail == "all" else tail
    return query


def _text(status: int, text: str, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(status=status, text=text, headers=headers)


def _json(value: Json) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), content_type="application/json")
