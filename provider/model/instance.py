"""An instance: what is asked of the cloud, what the cloud describes. Shapes follow ECI's CreateContainerGroup.

Units: CPU in milli-cores, memory and disk in bytes, times in seconds since the Unix epoch (float), durations in
seconds.
All structs are frozen; a change is a new value. They travel over gRPC (rpc/convert.py) and into the journal as JSON.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TypeAlias

from msgspec import Struct

from provider.model.ids import InstanceId, PodUid, VSwitchId, ZoneId

# --------------------------------------------------------------------------- request


class EnvVar(Struct, frozen=True, omit_defaults=True):
    """One variable. `expand`: resolve `$(NAME)` from the variables before it (kubelet's rule for literal values only).

    `from_address`: the value is the instance's own address, known only once the cloud has placed it (status.podIP).
    """

    name: str
    value: str = ""
    expand: bool = False
    from_address: bool = False


class VolumeMount(Struct, frozen=True, omit_defaults=True):
    """A volume seen in a container. `sub_path` is relative, without `..`; a file or a directory inside the volume.

    `expand`: resolve `$(NAME)` in `sub_path` from the container's variables (subPathExpr).
    """

    volume: str
    path: str
    sub_path: str = ""
    read_only: bool = False
    expand: bool = False


class FileEntry(Struct, frozen=True, omit_defaults=True):
    """One file of a FilesVolume: path relative to the volume's root, content, permission bits, owning user (root)."""

    path: str
    content: bytes
    mode: int = 0o644
    owner: int | None = None


class EmptyDirVolume(Struct, frozen=True, omit_defaults=True, tag="emptyDir"):
    """An empty directory that lives as long as the instance; `memory` makes it a tmpfs, `size_limit` in bytes."""

    name: str
    memory: bool = False
    size_limit: int | None = None


class FilesVolume(Struct, frozen=True, omit_defaults=True, tag="files"):
    """Files with given content (configMap, secret, projected, downwardAPI, tokens), replaced atomically by update."""

    name: str
    files: tuple[FileEntry, ...] = ()


class HostPathVolume(Struct, frozen=True, omit_defaults=True, tag="hostPath"):
    """A file or directory of the engine's host, where the cloud's operator lets instances have it.

    `kind`: `Directory`, `DirectoryOrCreate`, `File`, `FileOrCreate`, `Socket`, `CharDevice`, `BlockDevice`; empty:
    it is not checked, and a directory is made if nothing is there.
    """

    name: str
    path: str
    kind: str = ""


Volume: TypeAlias = EmptyDirVolume | FilesVolume | HostPathVolume


class ExecAction(Struct, frozen=True, omit_defaults=True, tag="exec"):
    """Run a command in the container; exit code 0 is success."""

    command: tuple[str, ...]


class HttpAction(Struct, frozen=True, omit_defaults=True, tag="http"):
    """GET; status 200..399 is success. `host` empty: the instance's address. HTTPS is not verified (kubelet's rule)."""

    port: int
    path: str = "/"
    scheme: str = "HTTP"
    host: str = ""
    headers: tuple[tuple[str, str], ...] = ()


class TcpAction(Struct, frozen=True, omit_defaults=True, tag="tcp"):
    """Open a TCP connection; `host` empty: the instance's address."""

    port: int
    host: str = ""


class GrpcAction(Struct, frozen=True, omit_defaults=True, tag="grpc"):
    """Ask grpc.health.v1.Health/Check at the instance's address about `service`; SERVING is success."""

    port: int
    service: str = ""


class SleepAction(Struct, frozen=True, omit_defaults=True, tag="sleep"):
    """Let so many seconds pass."""

    seconds: float = 0


class BrokenAction(Struct, frozen=True, omit_defaults=True, tag="broken"):
    """What can never be done, and why: a port by a name that the container has not. Each try fails with these words."""

    error: str = ""


Action: TypeAlias = ExecAction | HttpAction | TcpAction | GrpcAction | BrokenAction
Hook: TypeAlias = ExecAction | HttpAction | SleepAction | TcpAction | BrokenAction
"""What a lifecycle hook does; TCP is in the API and always fails (k8s.io/api/core/v1 LifecycleHandler)."""


class Probe(Struct, frozen=True, omit_defaults=True):
    """A probe with the kubelet's defaults (k8s.io/api/core/v1 Probe)."""

    action: Action
    initial_delay: float = 0
    period: float = 10
    timeout: float = 1
    success_threshold: int = 1
    failure_threshold: int = 3
    grace: float | None = None


class SecurityContext(Struct, frozen=True, omit_defaults=True):
    """Container's security settings, pod-level ones already merged in. None: the image's or the engine's default."""

    user: int | None = None
    group: int | None = None
    run_as_non_root: bool = False
    supplemental_groups: tuple[int, ...] = ()
    privileged: bool = False
    allow_privilege_escalation: bool = True
    read_only_root: bool = False
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    seccomp: str = ""
    """empty: engine default (RuntimeDefault), or `unconfined`."""
    apparmor: str = ""
    """empty: engine default; `default` (refused where there is no AppArmor), or `unconfined`."""
    selinux: tuple[str, ...] = ()
    """parts of the label: `user:U`, `role:R`, `type:T`, `level:L`; no effect where there is no SELinux."""


class PullPolicy(StrEnum):
    """imagePullPolicy."""

    ALWAYS = "Always"
    IF_NOT_PRESENT = "IfNotPresent"
    NEVER = "Never"


class ContainerKind(StrEnum):
    """init: runs to its end before the next; sidecar: an init container with restartPolicy Always; app: the rest."""

    INIT = "init"
    SIDECAR = "sidecar"
    APP = "app"


class RestartPolicy(StrEnum):
    """restartPolicy of app containers; init containers treat Always as OnFailure."""

    ALWAYS = "Always"
    ON_FAILURE = "OnFailure"
    NEVER = "Never"


class RestartRule(Struct, frozen=True, omit_defaults=True):
    """Start a container again, whatever its policy says, if its exit code is one of `codes` (`others`: is none)."""

    codes: tuple[int, ...]
    others: bool = False


class ContainerSpec(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One container of the group. Order of init and sidecar containers is their order in the request."""

    name: str
    image: str
    kind: ContainerKind = ContainerKind.APP
    pull_policy: PullPolicy = PullPolicy.IF_NOT_PRESENT
    command: tuple[str, ...] | None = None
    """replaces the image's entrypoint; `$(NAME)` is resolved from env."""
    args: tuple[str, ...] | None = None
    working_dir: str = ""
    env: tuple[EnvVar, ...] = ()
    mounts: tuple[VolumeMount, ...] = ()
    cpu_request: int = 0
    """milli-cores; sets the share."""
    cpu_limit: int | None = None
    memory_request: int = 0
    memory_limit: int | None = None
    storage_limit: int | None = None
    """bytes of local disk: writable layer and log. What takes more is evicted."""
    security: SecurityContext = SecurityContext()
    tty: bool = False
    stdin: bool = False
    stdin_once: bool = False
    stop_signal: str = ""
    """name of the first signal at the end; empty: the image's, else SIGTERM."""
    termination_path: str = "/dev/termination-log"
    termination_fallback_to_logs: bool = False
    readiness: Probe | None = None
    liveness: Probe | None = None
    startup: Probe | None = None
    post_start: Hook | None = None
    """run once an attempt has started; it counts as running when this has ended well, and is stopped otherwise."""
    pre_stop: Hook | None = None
    """run before the stop signal, within the grace."""
    restart_policy: RestartPolicy | None = None
    """of this container alone; None: the instance's."""
    restart_rules: tuple[RestartRule, ...] = ()


class DnsConfig(Struct, frozen=True, omit_defaults=True):
    """Lines of /etc/resolv.conf. `from_host`: start from the engine host's own file (dnsPolicy Default).

    `leading_searches` come first, then the search list of the host's file, then `searches` (dnsPolicy ClusterFirst).
    """

    nameservers: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    from_host: bool = False
    leading_searches: tuple[str, ...] = ()


class HostAlias(Struct, frozen=True, omit_defaults=True):
    """A line of /etc/hosts."""

    ip: str
    hostnames: tuple[str, ...]


class RegistryCredential(Struct, frozen=True, omit_defaults=True):
    """One login of imagePullSecrets; `server` as in a docker config.json, tried by longest match."""

    server: str
    username: str
    password: str


class Market(StrEnum):
    """How the instance is paid for; only PAY_AS_YOU_GO is sold so far."""

    PAY_AS_YOU_GO = "pay-as-you-go"
    SPOT = "spot"


class InstanceRequest(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """CreateContainerGroup. `uid` is the client token: used up only by an accepted creation."""

    uid: PodUid
    zone: ZoneId
    name: str
    """the pod's name."""
    namespace: str
    containers: tuple[ContainerSpec, ...]
    """init and sidecar containers first, in order, then the app containers."""
    restart_policy: RestartPolicy = RestartPolicy.ALWAYS
    cpu: int = 0
    """emulated size in milli-cores: what stock and bill count."""
    memory: int = 0
    """emulated size in bytes."""
    ephemeral_storage: int = 0
    storage_limit: int | None = None
    """bytes of local disk that the whole may use: containers and emptyDirs. What takes more is evicted."""
    market: Market = Market.PAY_AS_YOU_GO
    vswitches: tuple[VSwitchId, ...] = ()
    """empty: any vSwitch of the zone, in order."""
    volumes: tuple[Volume, ...] = ()
    hostname: str = ""
    domain: str = ""
    """with subdomain: `<subdomain>.<ns>.svc.<cluster domain>`; makes the FQDN of /etc/hosts."""
    fqdn: bool = False
    """the kernel's hostname is `<hostname>.<domain>`."""
    host_aliases: tuple[HostAlias, ...] = ()
    dns: DnsConfig = DnsConfig(from_host=True)
    active_deadline: float | None = None
    grace: float = 30
    fs_group: int | None = None
    sysctls: tuple[tuple[str, str], ...] = ()
    """kernel parameters of the instance's own network and IPC namespaces."""
    share_processes: bool = False
    """all containers are in the sandbox's PID namespace, whose PID 1 is the pause program."""
    credentials: tuple[RegistryCredential, ...] = ()
    tags: tuple[tuple[str, str], ...] = ()
    """free key-value pairs (ECI tags): `workload` and the like, for bill and story."""
    simulate: tuple[tuple[str, str], ...] = ()
    """hints for the simulated runtime, from pod annotations `simulate.zonelet.dev/*`: `duration` (seconds),
    `exit-code`, `start-delay` (seconds)."""


# --------------------------------------------------------------------------- description


class InstancePhase(StrEnum):
    """ECI's states of a container group (facts: section 6)."""

    SCHEDULING = "Scheduling"
    """accepted, waits for stock, an address, or the engine."""
    PENDING = "Pending"
    """placed: stock and address are taken; images, sandbox, init containers."""
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    EXPIRED = "Expired"


class ContainerPhase(StrEnum):
    """State of one container, as Kubernetes writes it."""

    WAITING = "Waiting"
    RUNNING = "Running"
    TERMINATED = "Terminated"


class ContainerState(Struct, frozen=True, omit_defaults=True):
    """One state. Waiting: reason, message. Running: started_at. Terminated: everything; exit_code is meaningful."""

    phase: ContainerPhase = ContainerPhase.WAITING
    reason: str = ""
    message: str = ""
    started_at: float | None = None
    finished_at: float | None = None
    exit_code: int = 0
    signal: int = 0
    container_id: str = ""
    """`docker://<64 hex>`, `simulated://<id>`."""


class ContainerStatus(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What the cloud says of one container. `restarts` counts starts after the first; attempt numbers are the same."""

    name: str
    kind: ContainerKind = ContainerKind.APP
    state: ContainerState = ContainerState()
    last: ContainerState | None = None
    """the newest ended attempt before this one."""
    restarts: int = 0
    ready: bool = False
    started: bool = False
    """startup probe passed, or none and running."""
    image: str = ""
    image_id: str = ""


class Instance(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """DescribeContainerGroup: one instance as it is now. `revision` grows with every change, over all instances."""

    uid: PodUid
    id: InstanceId
    zone: ZoneId
    name: str
    namespace: str
    phase: InstancePhase = InstancePhase.SCHEDULING
    reason: str = ""
    """of the instance itself: `DeadlineExceeded`, `Evicted`, `OperationDenied.NoStock` while it waits, `EngineWait`."""
    message: str = ""
    vswitch: VSwitchId | None = None
    address: str | None = None
    cpu: int = 0
    memory: int = 0
    market: Market = Market.PAY_AS_YOU_GO
    created_at: float = 0
    placed_at: float | None = None
    """when stock and address were taken; status.startTime, and where activeDeadline begins."""
    sandbox_ready_at: float | None = None
    initialized_at: float | None = None
    finished_at: float | None = None
    deletion_requested_at: float | None = None
    grace: float | None = None
    """the shrinking grace of a deletion in progress."""
    active_deadline: float | None = None
    """seconds after placement, as asked for last."""
    released: bool = False
    """every container has ended, sandbox, address and stock are given back. Logs stay until `forget`."""
    containers: tuple[ContainerStatus, ...] = ()
    revision: int = 0


class InstanceChanged(Struct, frozen=True, tag="instance"):
    """The instance as it is now; in-between states may be left out (level-triggered)."""

    instance: Instance


class InstanceGone(Struct, frozen=True, tag="gone"):
    """The record, its containers, logs and volumes are gone."""

    uid: PodUid
    revision: int


class Notice(Struct, frozen=True, omit_defaults=True, kw_only=True, tag="notice"):
    """DescribeContainerGroupEvents: something to tell the user; becomes a Kubernetes Event. Not replayed.

    `container` is empty for the instance as a whole. `reason` is the kubelet's or ECI's published word (`Pulled`).
    """

    uid: PodUid
    reason: str
    message: str
    warning: bool = False
    container: str = ""
    at: float = 0


class ZoneChanged(Struct, frozen=True, tag="zone"):
    """Stock or addresses of a zone have changed; ask describe_zones."""

    zone: ZoneId


class Synced(Struct, frozen=True, tag="synced"):
    """Every instance that existed when the watch began has been sent."""

    revision: int


Change: TypeAlias = InstanceChanged | InstanceGone | Notice | ZoneChanged | Synced

TERMINAL: frozenset[InstancePhase] = frozenset(
    {InstancePhase.SUCCEEDED, InstancePhase.FAILED, InstancePhase.EXPIRED},
)
