"""A small ElasticBackend whose behaviour a test sets, and the pair of ends around it."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import pytest

from provider.cloud.backend import STDERR, STDOUT, ExecRequest
from provider.model.capacity import BackendHealth, EngineInfo, Zone, ZoneStatus
from provider.model.errors import CloudCode, CloudError
from provider.model.ids import InstanceId, PodUid, ZoneId
from provider.model.instance import Instance, InstanceChanged, Synced
from provider.rpc.client import RemoteBackend
from provider.rpc.server import serve

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
    from pathlib import Path

    from provider.cloud.backend import AttachRequest, LogOptions
    from provider.model.bill import UsageRecord
    from provider.model.capacity import Redirect
    from provider.model.instance import Change
    from provider.model.request import InstanceRequest
    from provider.model.usage import InstanceUsage
    from provider.model.volume import FileEntry


class Session:
    """An exec that says what it gets: `echo` mirrors stdin, `flood` never ends, `stuck` reads nothing, else silence."""

    def __init__(self, request: ExecRequest) -> None:
        self.request = request
        self.received: list[Any] = []
        self.closed = asyncio.Event()
        self.sent = 0
        self.may_end = asyncio.Event()
        self._lines: asyncio.Queue[bytes | None] = asyncio.Queue()

    async def output(self) -> AsyncIterator[tuple[int, bytes]]:
        match self.request.command[0]:
            case "echo":
                while (data := await self._lines.get()) is not None:
                    yield STDOUT, data
                yield STDERR, b"end of input"
            case "flood":
                while True:
                    self.sent += 64 * 1024
                    yield STDOUT, b"x" * 64 * 1024
            case "brief":
                await self._lines.get()
                yield STDOUT, b"y" * 10_000_000
            case "big":
                yield STDOUT, b"y" * 3_000_000
            case "fail":
                yield STDOUT, b"some"
                raise CloudError(CloudCode.UNAVAILABLE, "the engine went away", 2.0)
            case _:
                await self.may_end.wait()

    async def write(self, data: bytes) -> None:
        if self.request.command[0] == "stuck":
            await asyncio.Event().wait()
        self.received.append(data)
        self._lines.put_nowait(data)

    async def close_stdin(self) -> None:
        self.received.append("closed")
        self._lines.put_nowait(None)

    async def resize(self, width: int, height: int) -> None:
        self.received.append((width, height))

    async def wait(self) -> int:
        return 7

    async def close(self) -> None:
        self.closed.set()


class Backend:
    """Records what it is asked; `refusal` is raised by every call, `pieces` is what logs yield."""

    def __init__(self) -> None:
        self.instances: dict[PodUid, Instance] = {}
        self.asked: list[Any] = []
        self.refusal: Exception | None = None
        self.hang = False
        self.pieces: list[bytes] = []
        self.log_failure: Exception | None = None
        self.log_bytes = 0
        self.log_closed = asyncio.Event()
        self.changes: dict[Any, Change] = {}
        """newest first state of each key, as the contract's watch keeps them."""
        self.watches = 0
        self.taken: deque[Any] = deque()
        self.watch_closed = asyncio.Event()
        self.changed = asyncio.Event()
        self.sessions: list[Session] = []
        self.ports: list[Port] = []
        self.usage: list[InstanceUsage] = []

    def _ask(self, *what: Any) -> None:
        self.asked.append(what)
        if self.refusal is not None:
            raise self.refusal

    async def health(self) -> BackendHealth:
        self._ask("health")
        return BackendHealth(healthy=True, engine=EngineInfo(runtime="test://1", cpus=4))

    async def describe_zones(self) -> Sequence[ZoneStatus]:
        self._ask("describe_zones")
        if self.hang:
            await asyncio.Event().wait()
        return [ZoneStatus(zone=Zone(id=ZoneId(name), cpu=1000, memory=1 << 40)) for name in ("zone-b", "zone-a")]

    async def set_redirects(self, redirects: Sequence[Redirect]) -> None:
        self._ask("set_redirects", list(redirects))

    async def create_instance(self, request: InstanceRequest) -> Instance:
        self._ask("create_instance", request)
        return self.put(request.uid, zone=request.zone)

    def put(self, uid: str, **changes: Any) -> Instance:
        wanted = {"id": InstanceId(f"eci-{uid}"), "zone": ZoneId("zone-a"), "name": "pod", "namespace": "ns", **changes}
        self.instances[PodUid(uid)] = instance = Instance(uid=PodUid(uid), **wanted)
        self.tell(uid, InstanceChanged(instance))
        return instance

    def tell(self, key: Any, change: Change) -> None:
        self.changes[key] = change
        self.changed.set()

    async def delete_instance(self, uid: PodUid, grace: float) -> Instance:
        self._ask("delete_instance", uid, grace)
        return self.instances[uid]

    async def forget_instance(self, uid: PodUid) -> None:
        self._ask("forget_instance", uid)

    async def update_files(self, uid: PodUid, volume: str, files: Sequence[FileEntry]) -> None:
        self._ask("update_files", uid, volume, list(files))

    async def describe_instances(self, zone: ZoneId | None = None) -> Sequence[Instance]:
        self._ask("describe_instances", zone)
        return [instance for instance in self.instances.values() if zone in {None, instance.zone}]

    async def describe_instance(self, uid: PodUid) -> Instance:
        self._ask("describe_instance", uid)
        return self.instances[uid]

    async def watch(self) -> AsyncGenerator[Change, None]:
        self._ask("watch")
        self.watches += 1
        try:
            self.changes = {uid: InstanceChanged(instance) for uid, instance in self.instances.items()}
            self.changes["synced"] = Synced(0)
            while True:
                while self.changes:
                    key = next(iter(self.changes))
                    self.taken.append(key)
                    yield self.changes.pop(key)
                if self.refusal is not None:
                    raise self.refusal
                self.changed.clear()
                await self.changed.wait()
        finally:
            self.watch_closed.set()

    async def logs(self, uid: PodUid, container: str, options: LogOptions) -> AsyncGenerator[bytes, None]:
        self._ask("logs", uid, container, options)
        try:
            for piece in self.pieces:
                self.log_bytes += len(piece)
                yield piece
            if self.log_failure is not None:
                raise self.log_failure
            while options.follow:
                self.log_bytes += 4096
                yield b"z" * 4096
        finally:
            self.log_closed.set()

    async def exec(self, uid: PodUid, request: ExecRequest) -> Session:
        self._ask("exec", uid, request)
        self.sessions.append(Session(request))
        return self.sessions[-1]

    async def attach(self, uid: PodUid, request: AttachRequest) -> Session:
        self._ask("attach", uid, request)
        self.sessions.append(Session(ExecRequest(container=request.container, command=("echo",))))
        return self.sessions[-1]

    async def forward(self, uid: PodUid, port: int) -> Port:
        self._ask("forward", uid, port)
        self.ports.append(Port())
        return self.ports[-1]

    async def describe_usage(self, zone: ZoneId | None = None) -> Sequence[InstanceUsage]:
        self._ask("describe_usage", zone)
        return self.usage

    async def describe_usage_records(self, since: float | None = None) -> Sequence[UsageRecord]:
        self._ask("describe_usage_records", since)
        return []


class Port:
    """A connection that gives back what it gets; `end` and `break` end it."""

    def __init__(self) -> None:
        self.pieces: asyncio.Queue[bytes] = asyncio.Queue()
        self.ended = False
        self.closed = asyncio.Event()

    async def read(self) -> bytes:
        data = await self.pieces.get()
        if data == b"break":
            raise CloudError(CloudCode.UNAVAILABLE, "the engine went away", 2.0)
        return data

    async def write(self, data: bytes) -> None:
        self.pieces.put_nowait(data)

    async def end(self) -> None:
        self.ended = True
        self.pieces.put_nowait(b"")

    async def close(self) -> None:
        self.closed.set()


@pytest.fixture(autouse=True)
def no_bug(capsys: pytest.CaptureFixture[str]) -> Iterator[None]:
    """A test that expects the server to log a bug reads the output itself."""
    yield
    assert "by a bug" not in capsys.readouterr().out


@pytest.fixture
def backend() -> Backend:
    return Backend()


@pytest.fixture
def address(tmp_path: Path) -> str:
    return f"unix:{tmp_path}/elastic.sock"


@pytest.fixture
async def remote(backend: Backend, address: str) -> AsyncIterator[RemoteBackend]:
    async with serve(backend, address), RemoteBackend(address) as client:
        yield client


@pytest.fixture
async def watching(remote: RemoteBackend) -> AsyncIterator[AsyncGenerator[Change, None]]:
    async with aclosing(remote.watch()) as changes:
        yield changes
