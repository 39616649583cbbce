"""ContainerRuntime: what the cloud side asks of whatever runs containers. Two implementations: docker, simulated.

A runtime keeps no truth of its own about what should run. It acts when told, and tells what it sees; the supervisor
compares. Every act is idempotent under its deterministic name (UID, container, attempt): repeated after a crash, it
finds what it made. `inspect` and `relist` are the only sources of state; `hints` only says where to look now.

Errors: RuntimeFault with a `kind` that the instance machine turns into the kubelet's waiting reason.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

from provider.model.attempt import SeenContainer as SeenContainer  # noqa: PLC0414 - part of this contract's vocabulary
from provider.model.ids import PodUid, VSwitchId, ZoneId
from provider.model.request import ContainerSpec, DnsConfig, HostAlias, PullPolicy, RegistryCredential
from provider.model.volume import Volume

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncGenerator, Callable, Sequence

    from provider.cloud.backend import AttachRequest, ExecRequest, ExecSession, LogOptions
    from provider.model.capacity import BackendHealth, Redirect, Zone
    from provider.model.usage import DiskUse, InstanceUsage
    from provider.model.volume import FileEntry


class FaultKind(StrEnum):
    """Why an act failed; the value is the kubelet's waiting or terminated reason where there is one."""

    IMAGE_PULL = "ErrImagePull"
    IMAGE_NEVER_PULL = "ErrImageNeverPull"
    INVALID_IMAGE_NAME = "InvalidImageName"
    IMAGE_INSPECT = "ImageInspectError"
    CONFIG = "CreateContainerConfigError"
    CREATE = "CreateContainerError"
    START = "StartError"
    """the container was made and could not start: exit code 128, as containerd reports it."""
    SANDBOX = "FailedCreatePodSandBox"
    MOUNT = "FailedMount"
    UNSUPPORTED = "Unsupported"
    REFUSED = "EngineRefused"
    """the engine answered no to a stop, a removal or a question: trying again unchanged may well end the same."""
    UNAVAILABLE = "Unavailable"
    """the engine is away: keep, wait, try again; never the pod's fault."""


class RuntimeFault(Exception):  # noqa: N818 - an outcome that comes back as an event, not a programming error
    """An act that failed, told for people in `message`."""

    def __init__(self, kind: FaultKind, message: str) -> None:
        super().__init__(f"{kind}: {message}")
        self.kind = kind
        self.message = message


class SandboxSpec(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """The pause container of an instance, its directories, volumes, /etc files and cgroup."""

    uid: PodUid
    zone: ZoneId
    vswitch: VSwitchId
    address: str
    name: str
    namespace: str
    hostname: str
    domain: str = ""
    kernel_hostname: str = ""
    """empty: `hostname`."""
    host_aliases: tuple[HostAlias, ...] = ()
    dns: DnsConfig = DnsConfig()
    volumes: tuple[Volume, ...] = ()
    fs_group: int | None = None
    sysctls: tuple[tuple[str, str], ...] = ()
    share_processes: bool = False
    cpu: int = 0
    memory: int = 0
    """limits of the whole instance, 0: none."""
    labels: tuple[tuple[str, str], ...] = ()
    """what is fixed at creation, for recovery and for people with `docker ps`."""


class RunSpec(Struct, frozen=True, kw_only=True):
    """One attempt of one container; env, command and args are already expanded."""

    uid: PodUid
    zone: ZoneId
    attempt: int
    container: ContainerSpec
    env: tuple[tuple[str, str], ...] = ()
    image_id: str = ""
    """what ensure_image answered; the container is made from exactly this."""
    simulate: tuple[tuple[str, str], ...] = ()


class Image(Struct, frozen=True):
    """A local image. `digest` is what status.imageID shows (repo digest, else the config's id)."""

    id: str
    digest: str
    user: str = ""
    """USER of the image, for runAsNonRoot."""
    pulled: bool = False
    """True if this call fetched it."""
    note: str = ""
    """why a local image was taken although the policy said to ask the registry (imagePull: preferLocal)."""
    seconds: float = 0
    size: int = 0


class Seen(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Everything of one instance that the runtime has now."""

    uid: PodUid
    zone: ZoneId
    address: str | None = None
    vswitch: VSwitchId | None = None
    sandbox_running: bool = False
    sandbox_exists: bool = False
    sandbox_id: str = ""
    containers: tuple[SeenContainer, ...] = ()
    leftovers: bool = False
    """directories, mounts or a cgroup are still there although no container is."""


class ContainerRuntime(Protocol):
    """What the supervisor needs of a runtime."""

    async def start(self, zones: Sequence[Zone]) -> None:
        """Make or find the zones' networks and routers; then watch the engine. Waits for an engine that is away."""
        ...

    async def close(self) -> None:
        """Stop watching; nothing that runs is touched."""
        ...

    async def health(self) -> BackendHealth:
        """Return whether containers can be made now."""
        ...

    def node_address(self, zone: ZoneId) -> str | None:
        """Return the zone's own address on the cluster network, once it has one."""
        ...

    async def listen(self, zone: ZoneId, port: int) -> socket.socket:
        """Return a listening TCP socket at the zone's own address (in the zone's network namespace)."""
        ...

    async def connect(self, zone: ZoneId, host: str, port: int, seconds: float) -> socket.socket:
        """Return a connected, non-blocking TCP socket from the zone's network to a pod; OSError or TimeoutError."""
        ...

    async def set_redirects(self, redirects: Sequence[Redirect]) -> None:
        """Have every zone's router send these services' traffic to their targets, and no others'. Idempotent."""
        ...

    async def pressure(self) -> str:
        """Return why the engine can take no further instance now (its cgroup near its cap), "" if it can."""
        ...

    async def ensure_image(
        self,
        image: str,
        policy: PullPolicy,
        credentials: Sequence[RegistryCredential],
        pulling: Callable[[], None] | None = None,
    ) -> Image:
        """Return the image, pulled if the policy asks for it; one pull is shared by all who wait for it.

        `pulling` is called once the registry has to be asked, before it is.
        """
        ...

    async def create_sandbox(self, spec: SandboxSpec) -> None:
        """Make directories, volumes, cgroup and the running pause container; finds what an earlier call made.

        What there is of the instance at another address is removed first, its containers too.
        """
        ...

    async def start_container(self, spec: RunSpec) -> SeenContainer:
        """Create and start one attempt; one that already exists is returned as it is, started if it never was."""
        ...

    async def stop_container(self, uid: PodUid, container: str, attempt: int, grace: float) -> None:
        """Send the stop signal, after `grace` seconds SIGKILL; returns once the container has ended (or is unknown)."""
        ...

    async def remove_container(self, uid: PodUid, container: str, attempt: int) -> None:
        """Remove an ended attempt with its log."""
        ...

    async def release_sandbox(self, uid: PodUid) -> None:
        """Remove the pause container and the cgroup: the address is free. Ended containers keep their logs."""
        ...

    async def remove_instance(self, uid: PodUid) -> None:
        """Remove all that is left of the instance: containers, mounts, directories, cgroup. Idempotent."""
        ...

    async def write_files(self, uid: PodUid, volume: str, files: Sequence[FileEntry]) -> None:
        """Replace the files of a volume atomically."""
        ...

    async def inspect(self, uid: PodUid) -> Seen | None:
        """Return what is there of one instance, None if nothing is."""
        ...

    async def relist(self) -> Sequence[Seen]:
        """Return what is there of every instance of this installation."""
        ...

    def hints(self) -> AsyncGenerator[PodUid, None]:
        """Yield UIDs worth an inspect now; may repeat, may miss (the supervisor relists all the same)."""
        ...

    def logs(self, uid: PodUid, container: str, attempt: int, options: LogOptions) -> AsyncGenerator[bytes, None]:
        """Yield one attempt's output; `previous` is already resolved into `attempt`."""
        ...

    async def exec(self, uid: PodUid, attempt: int, request: ExecRequest) -> ExecSession:
        """Start a command in a running container."""
        ...

    async def attach(self, uid: PodUid, attempt: int, request: AttachRequest) -> ExecSession:
        """Join the streams of a running container; see ElasticBackend.attach. START when it does not run."""
        ...

    async def connect_inside(self, uid: PodUid, port: int, seconds: float) -> socket.socket:
        """Return a connected, non-blocking TCP socket to a port of the instance's own loopback.

        OSError or TimeoutError when nobody answers there; START without a running sandbox; UNSUPPORTED.
        """
        ...

    async def usage(self) -> Sequence[InstanceUsage]:
        """Return what every instance that has a running sandbox uses now."""
        ...

    async def disk_use(self, uid: PodUid) -> DiskUse | None:
        """Return the local disk that one instance uses now, measured for this; None for one that is not there."""
        ...
