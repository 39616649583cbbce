"""ElasticBackend: the line between the Kubernetes side and the cloud side.

The contract is the cloud's own API at container-group level (proto/elastic/v1, whose comments are the specification).
Two implementations: `cloud.local.LocalBackend` in this process, `rpc.client.RemoteBackend` over gRPC. One contract
suite (tests/contract) runs over both, and over both runtimes below them.

Errors: every method raises `CloudError` for what the cloud refuses; `UNAVAILABLE` with `retry_after` when the engine
or the connection is away. Anything else raised is a bug.

Life of an instance as a caller sees it: `create_instance` (idempotent on the UID, for ever: a UID that was accepted
once is never started a second time, even after its record is gone, it then answers TOKEN_CONFLICT) -> changes by
`watch` -> `delete_instance` (idempotent; grace may only shrink) -> `released` -> `forget_instance` -> InstanceGone.
An instance that ends by itself is `released` too, and keeps its logs until it is forgotten.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Sequence

    from provider.model.bill import UsageRecord
    from provider.model.capacity import BackendHealth, Redirect, ZoneStatus
    from provider.model.ids import PodUid, ZoneId
    from provider.model.instance import Change, Instance
    from provider.model.request import InstanceRequest, RegistryCredential
    from provider.model.usage import InstanceUsage
    from provider.model.volume import FileEntry


class LogOptions(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Options of DescribeContainerLog, with the kubelet's meaning (k8s.io/api/core/v1 PodLogOptions).

    `tail` 0 gives nothing of what is there; `since` is seconds since the epoch; `limit_bytes` cuts the whole answer.
    """

    follow: bool = False
    previous: bool = False
    timestamps: bool = False
    tail: int | None = None
    since: float | None = None
    limit_bytes: int | None = None


class ExecRequest(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """ExecContainerCommand: `command` is run without a shell. With `tty`, stderr arrives on stdout."""

    container: str
    command: tuple[str, ...]
    stdin: bool = False
    stdout: bool = True
    stderr: bool = True
    tty: bool = False


class AttachRequest(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """AttachContainer: the streams of the container's own first process. With `tty`, stderr arrives on stdout."""

    container: str
    stdin: bool = False
    stdout: bool = True
    stderr: bool = True
    tty: bool = False


STDOUT = 1
STDERR = 2


class ExecSession(Protocol):
    """One running command. `close` ends the command if it still runs, and may be called at any time, twice too."""

    def output(self) -> AsyncIterator[tuple[int, bytes]]:
        """Yield (STDOUT | STDERR, bytes) until the command's output ends."""
        ...

    async def write(self, data: bytes) -> None:
        """Send to stdin; what comes after the command has ended is dropped."""
        ...

    async def close_stdin(self) -> None:
        """Half-close: the command sees end of file, its output goes on."""
        ...

    async def resize(self, width: int, height: int) -> None:
        """Set the terminal's size in characters."""
        ...

    async def wait(self) -> int:
        """Return the exit code once the command has ended."""
        ...

    async def close(self) -> None:
        """Give everything back; a command still running is killed."""
        ...


class PortConnection(Protocol):
    """A TCP connection to a port inside an instance. One reader and one writer at a time; `close` may be repeated."""

    async def read(self) -> bytes:
        """Return the next bytes, b"" once the other side has closed. CloudError when the way there breaks."""
        ...

    async def write(self, data: bytes) -> None:
        """Send; waits for a slow reader. What comes after the other side has closed is dropped."""
        ...

    async def end(self) -> None:
        """Half-close: the other side sees the end, its own bytes still come."""
        ...

    async def close(self) -> None:
        """Give everything back."""
        ...


class ElasticBackend(Protocol):
    """What the Kubernetes side may ask of the cloud."""

    async def health(self) -> BackendHealth:
        """Return whether instances can be made now; never raises for an engine that is away."""
        ...

    async def describe_zones(self) -> Sequence[ZoneStatus]:
        """Return every zone in the order of the config."""
        ...

    async def create_instance(self, request: InstanceRequest) -> Instance:
        """Accept an instance: durable when this returns. One that must wait for stock is accepted as Scheduling.

        Raises INVALID_PARAMETER, UNSUPPORTED (naming the field), ZONE_NOT_ON_SALE, TOKEN_CONFLICT (same UID, other
        request, or a UID that was forgotten), NO_STOCK only for a size that the zone can never sell.
        """
        ...

    async def delete_instance(self, uid: PodUid, grace: float) -> Instance:
        """Begin or hasten the end: containers get SIGTERM, after `grace` seconds SIGKILL. NOT_FOUND if unknown."""
        ...

    async def forget_instance(self, uid: PodUid) -> None:
        """Remove containers, logs, volumes and the record of a released instance; INCORRECT_STATUS before that.

        Idempotent: an unknown UID is no error.
        """
        ...

    async def update_files(self, uid: PodUid, volume: str, files: Sequence[FileEntry]) -> None:
        """Replace the content of a FilesVolume atomically (kubelet's `..data` rename). Released instances: no-op."""
        ...

    async def update_credentials(self, uid: PodUid, credentials: Sequence[RegistryCredential]) -> None:
        """Replace the logins that images are pulled with from now on; NOT_FOUND. Released instances: no-op."""
        ...

    async def update_deadline(self, uid: PodUid, active_deadline: float | None) -> Instance:
        """Replace the seconds after placement at which the instance is ended; NOT_FOUND. Released instances: no-op."""
        ...

    async def describe_instances(self, zone: ZoneId | None = None) -> Sequence[Instance]:
        """Return every record, or those of one zone."""
        ...

    async def describe_instance(self, uid: PodUid) -> Instance:
        """Return one record; NOT_FOUND if unknown or forgotten."""
        ...

    def watch(self) -> AsyncGenerator[Change, None]:
        """Yield every instance as InstanceChanged, then Synced, then changes as they come.

        A slow reader gets the newest state of each instance, not each state; notices are kept up to 10,000 and then
        the oldest are dropped with a notice that says so.
        """
        ...

    def logs(self, uid: PodUid, container: str, options: LogOptions) -> AsyncGenerator[bytes, None]:
        """Yield the container's output in pieces of any size.

        Raises NOT_FOUND for an unknown container, INCORRECT_STATUS when it has not started (message as the kubelet's).
        """
        ...

    async def exec(self, uid: PodUid, request: ExecRequest) -> ExecSession:
        """Start a command in a running container; NOT_FOUND, INCORRECT_STATUS (not running)."""
        ...

    async def attach(self, uid: PodUid, request: AttachRequest) -> ExecSession:
        """Join the streams of a running container: its output from now on; NOT_FOUND, INCORRECT_STATUS (not running).

        The session's `wait` returns 0 once the container's output has ended, its `close` leaves the container running.
        Input for a container that takes none is dropped, and so are sizes for one without a terminal.
        """
        ...

    async def forward(self, uid: PodUid, port: int) -> PortConnection:
        """Connect to a TCP port of the instance's own loopback (kubectl port-forward).

        NOT_FOUND, INCORRECT_STATUS (no running sandbox, or nobody listens there), UNSUPPORTED where instances have no
        network.
        """
        ...

    async def describe_usage(self, zone: ZoneId | None = None) -> Sequence[InstanceUsage]:
        """Return what the instances that are placed use now, or those of one zone; UNAVAILABLE."""
        ...

    async def describe_usage_records(self, since: float | None = None) -> Sequence[UsageRecord]:
        """Return the usage ledger: every attempt that began to cost at `since` or later, None: all that are kept.

        The oldest first. Those that run cost so much until now. Records outlive the instances they tell of; the newest
        200,000 are kept. UNAVAILABLE.
        """
        ...

    async def set_redirects(self, redirects: Sequence[Redirect]) -> None:
        """Send the traffic of these service addresses to their targets, in every zone; replaces all earlier ones.

        Idempotent, and remembered: zones that are made later have them too. UNAVAILABLE when the engine is away.
        """
        ...
