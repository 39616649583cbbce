"""The elastic API served: any ElasticBackend behind proto/elastic/v1, with gRPC's own health and reflection services.

`serve` listens as long as its block runs. A handler knows three ends: the answer; a refusal (CloudError, or a request
that cannot be read), which crosses as errors.py says; a bug, which is logged with its traceback and answered with
INTERNAL. A caller that goes away cancels its handler, which closes what it holds (the watch, the log, the command).
"""
# ruff: noqa: N802 - the methods' names are the API's verbs

from __future__ import annotations

import asyncio
from contextlib import aclosing, asynccontextmanager
from functools import wraps
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar

import grpc
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from provider.model.errors import CloudCode, CloudError
from provider.model.ids import PodUid, ZoneId
from provider.rpc import convert
from provider.rpc.batches import Batches
from provider.rpc.codec import WireError
from provider.rpc.errors import to_status
from provider.rpc.exec_call import run_exec
from provider.rpc.forward_call import run_forward
from provider.rpc.gen.elastic.v1 import service_pb2 as pb
from provider.rpc.gen.elastic.v1 import service_pb2_grpc as pb_grpc
from provider.rpc.gen.elastic.v1 import usage_pb2 as usage_pb
from provider.rpc.listen import listen
from provider.rpc.options import SERVER_OPTIONS, pieces

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from google.protobuf.message import Message

    from provider.cloud.admin import CloudAdmin
    from provider.cloud.backend import ElasticBackend
    from provider.rpc.options import TlsFiles

_log = structlog.get_logger(__name__)

_PAGE: Final = 200
"""Groups in one response of DescribeContainerGroups."""
_CHANGES: Final = 128
"""Most changes in one response of a watch."""
_LOG_BYTES: Final = 64 * 1024
_STOP_SECONDS: Final = 1.0
"""What a call in progress gets to end by itself when the server stops."""

Request = TypeVar("Request", bound="Message")
Response = TypeVar("Response")


@asynccontextmanager
async def serve(
    backend: ElasticBackend, address: str, *, admin: CloudAdmin | None = None, tls: TlsFiles | None = None
) -> AsyncIterator[str]:
    """Serve `backend` at `address` while the block runs; yields the address in use (a TCP port 0 is chosen).

    `admin` is what operators may do there; without it the service Operations is not served.

    `address` is `unix:/path` (made with mode 0600) or `host:port`. AddressError if it cannot be used: the text says why
    (too long, TCP that others can reach without TLS); ListenError, which is one, while it is in use.
    """
    server = grpc.aio.server(options=SERVER_OPTIONS)
    pb_grpc.add_ContainerGroupsServicer_to_server(_ContainerGroups(backend), server)
    pb_grpc.add_ZonesServicer_to_server(_Zones(backend), server)
    services = ["ContainerGroups", "Zones"]
    if admin is not None:
        pb_grpc.add_OperationsServicer_to_server(_Operations(admin), server)
        services.append("Operations")
    names = [pb.DESCRIPTOR.services_by_name[name].full_name for name in services]
    healthy = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(healthy, server)
    reflection.enable_server_reflection([*names, health.SERVICE_NAME, reflection.SERVICE_NAME], server)
    async with listen(server, address, tls) as bound:
        try:
            for name in ("", *names):
                await healthy.set(name, health_pb2.HealthCheckResponse.SERVING)
            yield bound
        finally:
            await healthy.enter_graceful_shutdown()
            await server.stop(_STOP_SECONDS)


async def _refuse(context: Any, error: Exception) -> NoReturn:
    """End the call with what `error` means to the caller."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]  # a TaskGroup's wrapping of the one thing that happened
    if isinstance(error, WireError):
        error = CloudError(CloudCode.UNSUPPORTED if error.unknown else CloudCode.INVALID_PARAMETER, str(error))
    if context.done() or isinstance(error, grpc.aio.InternalError):
        raise asyncio.CancelledError from error  # a write failed, or nobody reads any more: the caller went away
    if not isinstance(error, CloudError):
        _log.error("a call failed by a bug", exc_info=error)
        text = f"{type(error).__name__} in the elastic API's server; its log has the traceback"
        error = CloudError(CloudCode.INTERNAL, text)
    await context.abort(*to_status(error))
    raise AssertionError("abort always raises")


def _unary(
    handler: Callable[[Any, Request], Awaitable[Response]],
) -> Callable[[Any, Request, Any], Awaitable[Response]]:
    """Make a method of the service from one that takes the request and returns the response."""

    @wraps(handler)
    async def handle(self: Any, request: Request, context: Any) -> Response:
        try:
            convert.refuse_unknown_fields(request)
            return await handler(self, request)
        except Exception as error:  # noqa: BLE001 - told to the caller and, if it is a bug, to the log
            await _refuse(context, error)

    return handle


def _streaming(handler: Callable[[Any, Any, Any], Awaitable[None]]) -> Any:
    """Make a method of the service from one that writes its responses to the context.

    Any: the generated class knows only generators, and gRPC does not close one whose caller goes away.
    """

    @wraps(handler)
    async def handle(self: Any, request: Request, context: Any) -> None:
        try:
            await handler(self, request, context)
        except Exception as error:  # noqa: BLE001 - as in _unary
            await _refuse(context, error)

    return handle


class _ContainerGroups(pb_grpc.ContainerGroupsServicer):
    """The service ContainerGroups on a backend."""

    def __init__(self, backend: ElasticBackend) -> None:
        self._backend = backend

    @_unary
    async def CreateContainerGroup(self, request: pb.CreateContainerGroupRequest) -> pb.CreateContainerGroupResponse:
        instance = await self._backend.create_instance(convert.INSTANCE_REQUEST.decode(request.spec))
        return pb.CreateContainerGroupResponse(group=convert.INSTANCE.encode(instance))

    @_unary
    async def DeleteContainerGroup(self, request: pb.DeleteContainerGroupRequest) -> pb.DeleteContainerGroupResponse:
        instance = await self._backend.delete_instance(PodUid(request.uid), request.grace)
        return pb.DeleteContainerGroupResponse(group=convert.INSTANCE.encode(instance))

    @_unary
    async def ForgetContainerGroup(self, request: pb.ForgetContainerGroupRequest) -> pb.ForgetContainerGroupResponse:
        await self._backend.forget_instance(PodUid(request.uid))
        return pb.ForgetContainerGroupResponse()

    @_unary
    async def UpdateContainerGroup(self, request: pb.UpdateContainerGroupRequest) -> pb.UpdateContainerGroupResponse:
        files = [convert.FILE_ENTRY.decode(file) for file in request.files]
        await self._backend.update_files(PodUid(request.uid), request.volume, files)
        return pb.UpdateContainerGroupResponse()

    @_unary
    async def UpdateRegistryCredentials(
        self, request: pb.UpdateRegistryCredentialsRequest
    ) -> pb.UpdateRegistryCredentialsResponse:
        credentials = [convert.REGISTRY_CREDENTIAL.decode(one) for one in request.credentials]
        await self._backend.update_credentials(PodUid(request.uid), credentials)
        return pb.UpdateRegistryCredentialsResponse()

    @_unary
    async def UpdateActiveDeadline(self, request: pb.UpdateActiveDeadlineRequest) -> pb.UpdateActiveDeadlineResponse:
        seconds = request.active_deadline if request.HasField("active_deadline") else None
        instance = await self._backend.update_deadline(PodUid(request.uid), seconds)
        return pb.UpdateActiveDeadlineResponse(group=convert.INSTANCE.encode(instance))

    @_unary
    async def DescribeContainerGroup(
        self, request: pb.DescribeContainerGroupRequest
    ) -> pb.DescribeContainerGroupResponse:
        instance = await self._backend.describe_instance(PodUid(request.uid))
        return pb.DescribeContainerGroupResponse(group=convert.INSTANCE.encode(instance))

    @_streaming
    async def DescribeContainerGroups(self, request: pb.DescribeContainerGroupsRequest, context: Any) -> None:
        convert.refuse_unknown_fields(request)
        zone = ZoneId(request.zone) if request.HasField("zone") else None
        instances = await self._backend.describe_instances(zone)
        for first in range(0, len(instances), _PAGE):
            groups = [convert.INSTANCE.encode(instance) for instance in instances[first : first + _PAGE]]
            await context.write(pb.DescribeContainerGroupsResponse(groups=groups))

    @_streaming
    async def WatchContainerGroups(self, requests: AsyncIterator[pb.WatchContainerGroupsRequest], context: Any) -> None:
        async with aclosing(self._backend.watch()) as source, asyncio.TaskGroup() as group:
            batches = Batches(source, weigh=lambda _: 1)
            reading = group.create_task(batches.run())
            async for request in requests:
                changes = await batches.take(min(request.max_changes or _CHANGES, _CHANGES))
                if not changes:
                    break
                encoded = [convert.CHANGE.encode(change) for change in changes]
                await context.write(pb.WatchContainerGroupsResponse(changes=encoded))
            reading.cancel()

    @_streaming
    async def DescribeContainerLog(self, request: pb.DescribeContainerLogRequest, context: Any) -> None:
        convert.refuse_unknown_fields(request)
        options = convert.LOG_OPTIONS.decode(request.options)
        logs = self._backend.logs(PodUid(request.uid), request.container, options)
        async with aclosing(logs) as source, asyncio.TaskGroup() as group:
            batches = Batches(source, weigh=len)
            group.create_task(batches.run())
            while parts := await batches.take(_LOG_BYTES):
                for piece in pieces(b"".join(parts)):
                    await context.write(pb.DescribeContainerLogResponse(data=piece))

    @_streaming
    async def ExecContainerCommand(self, requests: AsyncIterator[pb.ExecContainerCommandRequest], context: Any) -> None:
        first = await anext(requests, None)
        if first is None or not first.HasField("start"):
            raise CloudError(CloudCode.INVALID_PARAMETER, "the first message of an exec has to be `start`")
        convert.refuse_unknown_fields(first)
        request = convert.EXEC_REQUEST.decode(first.start.request)
        session = await self._backend.exec(PodUid(first.start.uid), request)
        await run_exec(session, requests, context)

    @_streaming
    async def AttachContainer(self, requests: AsyncIterator[pb.ExecContainerCommandRequest], context: Any) -> None:
        first = await anext(requests, None)
        if first is None or not first.HasField("attach"):
            raise CloudError(CloudCode.INVALID_PARAMETER, "the first message has to be `attach`")
        convert.refuse_unknown_fields(first)
        request = convert.ATTACH_REQUEST.decode(first.attach.request)
        session = await self._backend.attach(PodUid(first.attach.uid), request)
        await run_exec(session, requests, context)

    @_streaming
    async def ForwardPort(self, requests: AsyncIterator[pb.ForwardPortRequest], context: Any) -> None:
        first = await anext(requests, None)
        if first is None or not first.HasField("start"):
            raise CloudError(CloudCode.INVALID_PARAMETER, "the first message has to be `start`")
        convert.refuse_unknown_fields(first)
        connection = await self._backend.forward(PodUid(first.start.uid), first.start.port)
        await run_forward(connection, requests, context)

    @_streaming
    async def DescribeContainerGroupUsage(self, request: pb.DescribeContainerGroupUsageRequest, context: Any) -> None:
        convert.refuse_unknown_fields(request)
        zone = ZoneId(request.zone) if request.HasField("zone") else None
        found = await self._backend.describe_usage(zone)
        for first in range(0, len(found), _PAGE):
            groups = [convert.USAGE.encode(usage) for usage in found[first : first + _PAGE]]
            await context.write(pb.DescribeContainerGroupUsageResponse(groups=groups))

    @_streaming
    async def DescribeUsageRecords(self, request: usage_pb.DescribeUsageRecordsRequest, context: Any) -> None:
        convert.refuse_unknown_fields(request)
        found = await self._backend.describe_usage_records(request.since if request.HasField("since") else None)
        for first in range(0, len(found), _PAGE):
            records = [convert.USAGE_RECORD.encode(record) for record in found[first : first + _PAGE]]
            await context.write(usage_pb.DescribeUsageRecordsResponse(records=records))


class _Zones(pb_grpc.ZonesServicer):
    """The service Zones on a backend."""

    def __init__(self, backend: ElasticBackend) -> None:
        self._backend = backend

    @_unary
    async def DescribeAvailableResource(
        self, _: pb.DescribeAvailableResourceRequest
    ) -> pb.DescribeAvailableResourceResponse:
        zones = await self._backend.describe_zones()
        return pb.DescribeAvailableResourceResponse(zones=[convert.ZONE_STATUS.encode(zone) for zone in zones])

    @_unary
    async def DescribeHealth(self, _: pb.DescribeHealthRequest) -> pb.DescribeHealthResponse:
        return pb.DescribeHealthResponse(health=convert.BACKEND_HEALTH.encode(await self._backend.health()))

    @_unary
    async def SetRedirects(self, request: pb.SetRedirectsRequest) -> pb.SetRedirectsResponse:
        await self._backend.set_redirects([convert.REDIRECT.decode(redirect) for redirect in request.redirects])
        return pb.SetRedirectsResponse()


class _Operations(pb_grpc.OperationsServicer):
    """The service Operations on what operators may do."""

    def __init__(self, admin: CloudAdmin) -> None:
        self._admin = admin

    @_unary
    async def SetStock(self, request: pb.SetStockRequest) -> pb.SetStockResponse:
        status = await self._admin.set_stock(convert.STOCK_CHANGE.decode(request.change))
        return pb.SetStockResponse(zone=convert.ZONE_STATUS.encode(status))

    @_unary
    async def ResetStock(self, request: pb.ResetStockRequest) -> pb.ResetStockResponse:
        status = await self._admin.reset_stock(ZoneId(request.zone))
        return pb.ResetStockResponse(zone=convert.ZONE_STATUS.encode(status))
