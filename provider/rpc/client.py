"""RemoteBackend: the ElasticBackend and the CloudAdmin of another process, over gRPC.

What differs from a backend in this process is only what a connection can do: every call may raise UNAVAILABLE (with
`retry_after`) because the server is away, and a watch, a log or an exec in progress then ends with it. The channel
connects again by itself; a new watch starts over, as the contract says. Calls that are not streams have a deadline.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar, cast

import grpc

from provider.model.capacity import BackendHealth
from provider.model.errors import CloudCode, CloudError
from provider.rpc import convert
from provider.rpc.codec import WireError
from provider.rpc.errors import from_rpc_error
from provider.rpc.exec_session import RemoteExec
from provider.rpc.forward_call import RemoteConnection
from provider.rpc.gen.elastic.v1 import service_pb2 as pb
from provider.rpc.gen.elastic.v1 import service_pb2_grpc as pb_grpc
from provider.rpc.gen.elastic.v1 import usage_pb2 as usage_pb
from provider.rpc.options import CLIENT_OPTIONS, MESSAGE_BYTES, check_tcp, socket_path

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
    from types import TracebackType

    from google.protobuf.message import Message

    from provider.cloud.backend import AttachRequest, ExecRequest, ExecSession, LogOptions, PortConnection
    from provider.model.bill import UsageRecord
    from provider.model.capacity import Redirect, ZoneStatus
    from provider.model.ids import PodUid, ZoneId
    from provider.model.instance import Change, Instance
    from provider.model.request import InstanceRequest, RegistryCredential
    from provider.model.stock import StockChange
    from provider.model.usage import InstanceUsage
    from provider.model.volume import FileEntry
    from provider.rpc.codec import Codec
    from provider.rpc.options import TlsFiles

Answer = TypeVar("Answer")
S = TypeVar("S")
M = TypeVar("M", bound="Message")

_PORTS: Final = range(1, 1 << 16)
_AWAY: Final = "CloudUnavailable"
"""BackendHealth.reason when the server cannot be asked."""


class RemoteBackend:
    """ElasticBackend at an address (`unix:/path`, `host:port`); use it as an async context manager.

    `seconds` is the deadline of a call that is no stream. AddressError for an address that cannot be right, and for TCP
    to another machine without TLS: the requests hold Secrets.
    """

    def __init__(self, address: str, *, tls: TlsFiles | None = None, seconds: float = 60.0) -> None:
        if socket_path(address) is None:
            check_tcp(address, tls)
        self._address = address
        self._tls = tls
        self._seconds = seconds
        self._tasks = asyncio.TaskGroup()
        self._calls: set[Any] = set()
        """streams in progress."""

    async def __aenter__(self) -> Self:
        options = CLIENT_OPTIONS
        self._channel = (
            grpc.aio.secure_channel(self._address, self._tls.client(), options)
            if self._tls
            else grpc.aio.insecure_channel(self._address, options)
        )
        self._groups = cast("pb_grpc.ContainerGroupsAsyncStub", pb_grpc.ContainerGroupsStub(self._channel))
        self._zones = cast("pb_grpc.ZonesAsyncStub", pb_grpc.ZonesStub(self._channel))
        self._operations = cast("pb_grpc.OperationsAsyncStub", pb_grpc.OperationsStub(self._channel))
        await self._tasks.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End every call in progress: those who wait for one get UNAVAILABLE."""
        for call in tuple(self._calls):
            call.cancel()
        await self._channel.close()
        await self._tasks.__aexit__(None, None, None)  # the sessions' tasks end with their calls

    async def health(self) -> BackendHealth:
        """See ElasticBackend; a server that is away is unhealthy."""
        try:
            answer = await self._call(self._zones.DescribeHealth, pb.DescribeHealthRequest())
        except CloudError as error:
            if error.code is not CloudCode.UNAVAILABLE:
                raise
            return BackendHealth(healthy=False, reason=_AWAY, message=error.message)
        return self._decoded(convert.BACKEND_HEALTH, answer.health)

    async def describe_zones(self) -> Sequence[ZoneStatus]:
        """See ElasticBackend."""
        answer = await self._call(self._zones.DescribeAvailableResource, pb.DescribeAvailableResourceRequest())
        return [self._decoded(convert.ZONE_STATUS, zone) for zone in answer.zones]

    async def set_stock(self, change: StockChange) -> ZoneStatus:
        """See CloudAdmin."""
        request = pb.SetStockRequest(change=_encoded(convert.STOCK_CHANGE, change))
        answer = await self._call(self._operations.SetStock, request)
        return self._decoded(convert.ZONE_STATUS, answer.zone)

    async def reset_stock(self, zone: ZoneId) -> ZoneStatus:
        """See CloudAdmin."""
        answer = await self._call(self._operations.ResetStock, pb.ResetStockRequest(zone=zone))
        return self._decoded(convert.ZONE_STATUS, answer.zone)

    async def set_redirects(self, redirects: Sequence[Redirect]) -> None:
        """See ElasticBackend."""
        encoded = [_encoded(convert.REDIRECT, redirect) for redirect in redirects]
        await self._call(self._zones.SetRedirects, pb.SetRedirectsRequest(redirects=encoded))

    async def create_instance(self, request: InstanceRequest) -> Instance:
        """See ElasticBackend; INVALID_PARAMETER also for more than 64 MiB of files."""
        spec = _encoded(convert.INSTANCE_REQUEST, request)
        answer = await self._call(self._groups.CreateContainerGroup, pb.CreateContainerGroupRequest(spec=spec))
        return self._decoded(convert.INSTANCE, answer.group)

    async def delete_instance(self, uid: PodUid, grace: float) -> Instance:
        """See ElasticBackend."""
        request = pb.DeleteContainerGroupRequest(uid=uid, grace=grace)
        answer = await self._call(self._groups.DeleteContainerGroup, request)
        return self._decoded(convert.INSTANCE, answer.group)

    async def forget_instance(self, uid: PodUid) -> None:
        """See ElasticBackend."""
        await self._call(self._groups.ForgetContainerGroup, pb.ForgetContainerGroupRequest(uid=uid))

    async def update_files(self, uid: PodUid, volume: str, files: Sequence[FileEntry]) -> None:
        """See ElasticBackend; INVALID_PARAMETER also for more than 64 MiB of files."""
        encoded = [_encoded(convert.FILE_ENTRY, file) for file in files]
        request = pb.UpdateContainerGroupRequest(uid=uid, volume=volume, files=encoded)
        await self._call(self._groups.UpdateContainerGroup, request)

    async def update_credentials(self, uid: PodUid, credentials: Sequence[RegistryCredential]) -> None:
        """See ElasticBackend."""
        encoded = [_encoded(convert.REGISTRY_CREDENTIAL, one) for one in credentials]
        request = pb.UpdateRegistryCredentialsRequest(uid=uid, credentials=encoded)
        await self._call(self._groups.UpdateRegistryCredentials, request)

    async def update_deadline(self, uid: PodUid, active_deadline: float | None) -> Instance:
        """See ElasticBackend."""
        request = pb.UpdateActiveDeadlineRequest(uid=uid, active_deadline=active_deadline)
        answer = await self._call(self._groups.UpdateActiveDeadline, request)
        return self._decoded(convert.INSTANCE, answer.group)

    async def describe_instance(self, uid: PodUid) -> Instance:
        """See ElasticBackend."""
        answer = await self._call(self._groups.DescribeContainerGroup, pb.DescribeContainerGroupRequest(uid=uid))
        return self._decoded(convert.INSTANCE, answer.group)

    async def describe_instances(self, zone: ZoneId | None = None) -> Sequence[Instance]:
        """See ElasticBackend."""
        request = pb.DescribeContainerGroupsRequest(zone=zone)
        call = self._track(self._groups.DescribeContainerGroups(request, timeout=self._seconds))
        instances: list[Instance] = []
        try:
            while page := await self._read(call):
                instances += [self._decoded(convert.INSTANCE, group) for group in page.groups]
        finally:
            self._untrack(call)
        return instances

    async def watch(self) -> AsyncGenerator[Change, None]:
        """See ElasticBackend; UNAVAILABLE when the connection breaks, also when the server ends."""
        call = self._track(self._groups.WatchContainerGroups())
        try:
            while True:
                await self._write(call, pb.WatchContainerGroupsRequest())  # asked for only when it is wanted
                answer = await self._read(call)
                if answer is None:
                    text = f"the elastic API at {self._address} has ended the watch; begin a new one"
                    raise CloudError(CloudCode.UNAVAILABLE, text, retry_after=1.0)
                for change in answer.changes:
                    if change.WhichOneof("kind"):  # a kind of a newer server is nobody's business here
                        yield self._decoded(convert.CHANGE, change)
        finally:
            self._untrack(call)

    async def logs(self, uid: PodUid, container: str, options: LogOptions) -> AsyncGenerator[bytes, None]:
        """See ElasticBackend."""
        encoded = _encoded(convert.LOG_OPTIONS, options)
        request = pb.DescribeContainerLogRequest(uid=uid, container=container, options=encoded)
        call = self._track(self._groups.DescribeContainerLog(request))
        try:
            while answer := await self._read(call):
                yield answer.data
        finally:
            self._untrack(call)

    async def exec(self, uid: PodUid, request: ExecRequest) -> ExecSession:
        """See ElasticBackend."""
        start = pb.ExecStart(uid=uid, request=_encoded(convert.EXEC_REQUEST, request))
        call = self._groups.ExecContainerCommand()
        return await self._session(call, pb.ExecContainerCommandRequest(start=start))

    async def attach(self, uid: PodUid, request: AttachRequest) -> ExecSession:
        """See ElasticBackend."""
        attach = pb.AttachStart(uid=uid, request=_encoded(convert.ATTACH_REQUEST, request))
        call = self._groups.AttachContainer()
        return await self._session(call, pb.ExecContainerCommandRequest(attach=attach))

    async def _session(self, call: Any, first: pb.ExecContainerCommandRequest) -> RemoteExec:
        await self._begin(call, first, "started")
        return RemoteExec(call, self._tasks, self._address, closed=lambda: self._untrack(call))

    async def forward(self, uid: PodUid, port: int) -> PortConnection:
        """See ElasticBackend."""
        if port not in _PORTS:
            raise CloudError(CloudCode.INVALID_PARAMETER, f"port {port} is not 1 to 65535")
        call = self._groups.ForwardPort()
        await self._begin(call, pb.ForwardPortRequest(start=pb.ForwardPortStart(uid=uid, port=port)), "connected")
        return RemoteConnection(call, self._address, closed=lambda: self._untrack(call))

    async def _begin(self, call: Any, first: Message, due: str) -> None:
        """Send the first message of a stream and wait for its first answer, which has to be `due`."""
        self._track(call)
        try:
            await self._write(call, first)
            answer = await self._read(call)
            if answer is None or not answer.HasField(due):
                text = f"the elastic API at {self._address} began a stream without `{due}`; it runs another version"
                raise CloudError(CloudCode.INTERNAL, text)  # noqa: TRY301 - the call is given back below
        except BaseException:
            self._untrack(call)
            raise

    async def describe_usage(self, zone: ZoneId | None = None) -> Sequence[InstanceUsage]:
        """See ElasticBackend."""
        request = pb.DescribeContainerGroupUsageRequest(zone=zone)
        call = self._track(self._groups.DescribeContainerGroupUsage(request, timeout=self._seconds))
        found: list[InstanceUsage] = []
        try:
            while page := await self._read(call):
                found += [self._decoded(convert.USAGE, usage) for usage in page.groups]
        finally:
            self._untrack(call)
        return found

    async def describe_usage_records(self, since: float | None = None) -> Sequence[UsageRecord]:
        """See ElasticBackend."""
        request = usage_pb.DescribeUsageRecordsRequest(since=since)
        call = self._track(self._groups.DescribeUsageRecords(request, timeout=self._seconds))
        found: list[UsageRecord] = []
        try:
            while page := await self._read(call):
                found += [self._decoded(convert.USAGE_RECORD, record) for record in page.records]
        finally:
            self._untrack(call)
        return found

    async def _call(self, method: Callable[..., Awaitable[Answer]], request: Message) -> Answer:
        """Return the answer of a call that is no stream; CloudError for every failure."""
        size = request.ByteSize()
        if size > MESSAGE_BYTES:
            text = f"the request has {size} bytes, the elastic API takes {MESSAGE_BYTES}; use fewer or smaller files"
            raise CloudError(CloudCode.INVALID_PARAMETER, text)
        call: Any = method(request, timeout=self._seconds)
        self._calls.add(call)
        try:
            return await self._translated(call)
        finally:
            self._calls.discard(call)

    async def _read(self, call: Any) -> Any:
        """Return the next message of a stream, None at its end; CloudError for every failure."""
        message = await self._translated(call.read())
        return None if message is grpc.aio.EOF else message

    async def _write(self, call: Any, message: Message) -> None:
        """Send a message; what is wrong with a call that has ended is told by the next `_read`."""
        try:
            await self._translated(call.write(message))
        except asyncio.InvalidStateError:
            return

    async def _translated(self, waiting: Awaitable[Answer]) -> Answer:
        """Wait; raise what a failed call means. A call that `__aexit__` cancelled is no cancellation of its caller."""
        try:
            return await waiting
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error, self._address) from error
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            text = f"the connection to the elastic API at {self._address} was closed"
            raise CloudError(CloudCode.UNAVAILABLE, text, retry_after=1.0) from None

    def _decoded(self, codec: Codec[S, M], message: M) -> S:
        try:
            return codec.decode(message)
        except WireError as error:
            text = f"the elastic API at {self._address} runs another version, its answer cannot be read: {error}"
            raise CloudError(CloudCode.INTERNAL, text) from error

    def _track(self, call: Any) -> Any:
        self._calls.add(call)
        return call

    def _untrack(self, call: Any) -> None:
        """Give a stream back; one still in progress is cancelled."""
        self._calls.discard(call)
        call.cancel()


def _encoded(codec: Codec[S, M], value: S) -> M:
    try:
        return codec.encode(value)
    except WireError as error:
        raise CloudError(CloudCode.INVALID_PARAMETER, str(error)) from error
