"""What is asked of the cloud: one instance. Shapes follow ECI's CreateContainerGroup.

Units: CPU in milli-cores, memory and disk in bytes, times in seconds since the Unix epoch (float), durations in
seconds.
All structs are frozen; a change is a new value. They travel over gRPC (rpc/convert.py) and into the journal as JSON.
"""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from provider.model.ids import PodUid, VSwitchId, ZoneId
from provider.model.probe import Hook, Probe
from provider.model.size import InstanceSize
from provider.model.volume import Volume, VolumeMount


class EnvVar(Struct, frozen=True, omit_defaults=True):
    """One variable. `expand`: resolve `$(NAME)` from the variables before it (kubelet's rule for literal values only).

    `from_address`: the value is the instance's own address, known only once the cloud has placed it (status.podIP).
    """

    name: str
    value: str = ""
    expand: bool = False
    from_address: bool = False


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
    """How the instance is paid for. Best-effort is interruptible as spot is, and has no price to bid."""

    PAY_AS_YOU_GO = "pay-as-you-go"
    SPOT = "spot"
    BEST_EFFORT = "best-effort"


SOLD_MARKETS = frozenset({Market.PAY_AS_YOU_GO})
"""What the cloud sells; anything else is UnsupportedOperation."""


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
    sizes: tuple[InstanceSize, ...] = ()
    """the sizes to try, in order; the first is `cpu` and `memory`. Empty: a cloud without sizes (profile plain)."""
    ephemeral_storage: int = 0
    extra_disk: int = 0
    """bytes of disk that are billed beside the size."""
    storage_limit: int | None = None
    """bytes of local disk that the whole may use: containers and emptyDirs. What takes more is evicted."""
    market: Market = Market.PAY_AS_YOU_GO
    priority: int = 0
    """in the zone's queue: the highest first, then who came first."""
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
    """free key-value pairs (ECI tags) for the bill: `workflow`, `template` and the like. An instance with the tag
    `daemon` serves others until its owner ends it, which is no waste."""
    simulate: tuple[tuple[str, str], ...] = ()
    """hints for the simulated runtime, from pod annotations `simulate.zonelet.dev/*`: `duration` (seconds),
    `exit-code`, `start-delay` (seconds)."""
