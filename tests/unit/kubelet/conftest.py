"""A kubelet port over real sockets with TLS and client certificates, in front of a scripted cloud."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from provider.clock import ScaledClock, SystemClock
from provider.cloud.backend import STDOUT, AttachRequest, ExecRequest, LogOptions
from provider.cluster.pki import Pair, Pki
from provider.kube.auth_review import Decision, User
from provider.kubelet.access import Access
from provider.kubelet.server import kubelet_app, serving
from provider.kubelet.tls import server_context
from provider.model.capacity import BackendHealth, Zone, ZoneStatus
from provider.model.errors import CloudCode, CloudError
from provider.model.ids import InstanceId, PodUid, ZoneId
from provider.model.instance import ContainerPhase, ContainerState, ContainerStatus, Instance

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable
    from pathlib import Path

    from provider.model.usage import InstanceUsage

ZONE = ZoneId("zone-a")
UID = PodUid("uid-1")
POD: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "p", "namespace": "ns", "uid": UID},
    "spec": {"containers": [{"name": "c"}, {"name": "w"}]},
    "status": {
        "startTime": "2026-01-01T00:00:00Z",
        "containerStatuses": [
            {"name": "c", "state": {"running": {}}},
            {"name": "w", "state": {"waiting": {"reason": "ContainerCreating"}}},
        ],
    },
}


class Cat:
    """A command that gives back its input, and says how many bytes it was in its exit code (modulo 256).

    Called `x` it gives nothing back, and stops reading its input after four pieces.
    """

    def __init__(self, *, mute: bool, code: int | None = None) -> None:
        self.mute = mute
        self.code = code
        self.pieces: asyncio.Queue[bytes | None] = asyncio.Queue(4)
        self.count = 0
        self.closed = asyncio.Event()
        self.sizes: list[tuple[int, int]] = []

    async def output(self) -> AsyncIterator[tuple[int, bytes]]:
        if self.mute:
            await self.closed.wait()
        yield STDOUT, b"ready"
        while (piece := await self.pieces.get()) is not None:
            yield STDOUT, piece

    async def write(self, data: bytes) -> None:
        self.count += len(data)
        await self.pieces.put(data)

    async def close_stdin(self) -> None:
        await self.pieces.put(None)

    async def resize(self, width: int, height: int) -> None:
        self.sizes.append((width, height))

    async def wait(self) -> int:
        return self.count % 256 if self.code is None else self.code

    async def close(self) -> None:
        self.closed.set()


class EchoPort:
    """A port in the pod that gives back what it gets, `end` behind it; `closes`: it ends by itself after one piece.

    `deaf`: it takes nothing.
    """

    def __init__(self, *, closes: bool, deaf: bool = False) -> None:
        self.closes = closes
        self.deaf = deaf
        self.pieces: asyncio.Queue[bytes] = asyncio.Queue(4)
        self.closed = asyncio.Event()
        self.count = 0

    async def read(self) -> bytes:
        if self.closes and self.count:
            return b""
        self.count += 1
        piece = await self.pieces.get()
        if piece == b"end":
            self.closes = True
        return piece

    async def write(self, data: bytes) -> None:
        if self.deaf:
            await asyncio.Event().wait()
        await self.pieces.put(data)

    async def end(self) -> None:
        await self.pieces.put(b"end")

    async def close(self) -> None:
        self.closed.set()


class Cloud:
    """As much of ElasticBackend as the port uses, and the one pod."""

    def __init__(self) -> None:
        self.pod = POD
        self.asked: list[tuple[str, str, LogOptions]] = []
        self.pieces: list[bytes] = [b"one\n", b"two\n"]
        self.hold = asyncio.Event()
        self.reading = asyncio.Event()
        self.left = asyncio.Event()
        self.refusal: CloudError | None = None
        self.engine = BackendHealth(healthy=True)
        self.commands: list[tuple[ExecRequest, Cat]] = []
        self.attached: list[tuple[AttachRequest, Cat]] = []
        self.ports: list[tuple[int, EchoPort]] = []
        self.usage: list[InstanceUsage] = []

    async def health(self) -> BackendHealth:
        return self.engine

    async def describe_instance(self, uid: PodUid) -> Instance:
        if uid != UID:
            raise CloudError(CloudCode.NOT_FOUND, "no such instance")
        running = ContainerState(ContainerPhase.RUNNING)
        containers = (ContainerStatus(name="c", state=running, image="busybox"), ContainerStatus(name="w"))
        return Instance(uid=UID, id=InstanceId("eci-1"), zone=ZONE, name="p", namespace="ns", containers=containers)

    async def describe_instances(self, zone: ZoneId | None = None) -> list[Instance]:
        assert zone == ZONE
        return [await self.describe_instance(UID)]

    async def logs(self, uid: PodUid, container: str, options: LogOptions) -> AsyncGenerator[bytes, None]:
        self.asked.append((uid, container, options))
        try:
            if self.refusal:
                raise self.refusal
            for piece in self.pieces:
                yield piece
            if options.follow:
                self.reading.set()
                await self.hold.wait()
        finally:
            self.left.set()

    async def exec(self, uid: PodUid, request: ExecRequest) -> Cat:
        assert uid == UID
        command = Cat(mute=request.command == ("x",))
        self.commands.append((request, command))
        return command

    async def attach(self, uid: PodUid, request: AttachRequest) -> Cat:
        assert uid == UID
        session = Cat(mute=False, code=0)
        self.attached.append((request, session))
        return session

    async def describe_usage(self, zone: ZoneId | None = None) -> list[InstanceUsage]:
        assert zone == ZONE
        if self.refusal:
            raise self.refusal
        return self.usage

    async def describe_zones(self) -> list[ZoneStatus]:
        free = sum(one.use.working_set for one in self.usage if one.uid == UID)
        return [ZoneStatus(zone=Zone(id=ZONE, cpu=1000, memory=(1 << 30) + free))]

    async def forward(self, uid: PodUid, port: int) -> EchoPort:
        """Somebody listens from 1000 on; 2000 ends by itself, 3000 reads nothing."""
        assert uid == UID
        if port < 1000:
            text = f"failed to connect to localhost:{port} inside the instance: connection refused"
            raise CloudError(CloudCode.INCORRECT_STATUS, text)
        made = EchoPort(closes=port == 2000, deaf=port == 3000)
        self.ports.append((port, made))
        return made


class Port:
    """The port that runs, and ways to call it."""

    def __init__(self, pki: Pki, ca: Pair, address: tuple[str, int]) -> None:
        self._pki = pki
        self._ca = ca
        self.host, self.port = address
        self.url = f"https://{self.host}:{self.port}"

    def context(self, pair: Pair | None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self._ca.certificate))
        if pair is not None:
            context.load_cert_chain(pair.certificate, pair.key)
        return context

    @property
    def admin(self) -> ssl.SSLContext:
        return self.context(self._pki.client(self._ca, "admin", "kube-apiserver", ["system:masters", "ops"]))

    async def get(self, path: str, client: ssl.SSLContext | None = None, **options: Any) -> tuple[int, str]:
        async with (
            aiohttp.ClientSession() as session,
            session.request(
                options.pop("method", "GET"), self.url + path, ssl=client or self.admin, **options
            ) as response,
        ):
            return response.status, await response.text()


@pytest.fixture
def cloud() -> Cloud:
    return Cloud()


@pytest.fixture
def users() -> list[User]:
    return []


@pytest.fixture
def listening(tmp_path: Path, cloud: Cloud, users: list[User]) -> Callable[[], Any]:
    class Reviews:
        async def authenticate(self, token: str) -> User | None:
            return User(name="bot") if token == "good" else None

        async def authorize(self, user: User, verb: str, resource: str, subresource: str, name: str) -> Decision:
            users.append(user)
            return Decision(user.name != "stranger" and verb != "")

    @contextlib.asynccontextmanager
    async def listen(rate: float = 1) -> AsyncIterator[Port]:
        pki = Pki(tmp_path / "pki", SystemClock())
        ca = pki.authority("ca")
        serving_pair = pki.server(ca, "node", ["node-a"], ["127.0.0.1"])
        context = server_context(serving_pair.certificate, serving_pair.key, ca.certificate.read_text())
        access = Access(Reviews(), "node-a")  # type: ignore[arg-type]
        app = kubelet_app("node-a", ZONE, cloud, lambda: [POD], access, ScaledClock(rate))  # type: ignore[arg-type]
        listener = socket.create_server(("127.0.0.1", 0))
        async with serving(app, listener, context), asyncio.timeout(30):
            yield Port(pki, ca, listener.getsockname())

    return listen
