"""What is asked of the engine for a sandbox and for a container: bodies of `POST /containers/create` (API 1.41)."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from provider.cloud.runtime.docker_engine.labels import encode_container, encode_sandbox

if TYPE_CHECKING:
    from collections.abc import Sequence

    from provider.cloud.runtime.base import RunSpec, SandboxSpec
    from provider.model.request import ContainerSpec

_CPU_PERIOD = 100_000
_MINIMUM_QUOTA = 1_000
_MINIMUM_SHARES = 2
_LOG_SIZE, _LOG_FILES = "10m", "5"
"""kubelet: containerLogMaxSize 10Mi, containerLogMaxFiles 5."""


class Bind(Struct, frozen=True):
    """A host file or directory seen in a container."""

    source: str
    target: str
    read_only: bool = False


def mac_address(address: str) -> str:
    """Return the MAC of an IPv4 address: a reused address must not meet a stale ARP entry (Docker 28 takes any)."""
    return "02:42:" + ":".join(f"{byte:02x}" for byte in ipaddress.IPv4Address(address).packed)


def sandbox_config(
    installation: str,
    spec: SandboxSpec,
    image: str,
    network: str,
    cgroup: str = "",
    *,
    mac_of_endpoint: bool = False,
) -> dict[str, Any]:
    """Return the body for an instance's pause container at its fixed address on the vSwitch's network.

    `mac_of_endpoint`: API 1.44 and later take the MAC address of an endpoint, earlier ones that of the container.
    """
    mac = {"MacAddress": mac_address(spec.address)}
    endpoint = {"IPAMConfig": {"IPv4Address": spec.address}, **(mac if mac_of_endpoint else {})}
    return {
        "Image": image,
        "Hostname": spec.kernel_hostname or spec.hostname,
        **({} if mac_of_endpoint else mac),
        "Healthcheck": {"Test": ["NONE"]},
        "Labels": encode_sandbox(installation, spec),
        "HostConfig": {
            "NetworkMode": network,
            "IpcMode": "shareable",
            "CgroupParent": cgroup,
            "LogConfig": {"Type": "none"},
            "Sysctls": dict(spec.sysctls),
        },
        "NetworkingConfig": {"EndpointsConfig": {network: endpoint}},
    }


def container_config(
    installation: str,
    spec: RunSpec,
    sandbox: str,
    binds: Sequence[Bind] = (),
    cgroup: str = "",
    image_user: str = "",
    *,
    most_cpu: int = 0,
    fs_group: int | None = None,
    share_processes: bool = False,
) -> dict[str, Any]:
    """Return the body for one attempt that joins the sandbox, its PID namespace too with `share_processes`.

    `image_user` goes with runAsGroup without runAsUser. `most_cpu`: what the cgroup above has (milli-cores, 0: no
    end); cgroup v1 refuses a quota above it. `fs_group` is one more group of the container's processes (kubelet).
    """
    container = spec.container
    body: dict[str, Any] = {
        "Image": spec.image_id or container.image,
        "Env": [f"{name}={value}" for name, value in spec.env],
        "WorkingDir": container.working_dir,
        "User": _user(container, image_user),
        "Tty": container.tty,
        "OpenStdin": container.stdin,
        "StdinOnce": container.stdin_once,
        "Labels": encode_container(installation, spec),
        "Healthcheck": {"Test": ["NONE"]},
        "HostConfig": {
            "NetworkMode": f"container:{sandbox}",
            "IpcMode": f"container:{sandbox}",
            **({"PidMode": f"container:{sandbox}"} if share_processes else {}),
            "CgroupParent": cgroup,
            "LogConfig": {"Type": "json-file", "Config": {"max-size": _LOG_SIZE, "max-file": _LOG_FILES}},
            "Mounts": [
                {"Type": "bind", "Source": bind.source, "Target": bind.target, "ReadOnly": bind.read_only}
                for bind in binds
            ],
            **_resources(container, most_cpu),
            **_security(container, fs_group),
        },
    }
    if container.stop_signal:
        body["StopSignal"] = container.stop_signal
    if container.command is not None:
        body["Entrypoint"] = list(container.command)
    if container.args is not None:
        body["Cmd"] = list(container.args)
    return body


def _user(container: ContainerSpec, image_user: str) -> str:
    user, group = container.security.user, container.security.group
    name = image_user.partition(":")[0] or "0" if user is None else str(user)
    if group is not None:
        return f"{name}:{group}"
    return "" if user is None else name


def _resources(container: ContainerSpec, most_cpu: int) -> dict[str, Any]:
    """CpuQuota, not NanoCpus: the engine refuses more NanoCpus than the host has. No swap, as in a kubelet's pod."""
    asked = {"CpuShares": max(_MINIMUM_SHARES, container.cpu_request * 1024 // 1000)}
    if container.cpu_limit is not None:
        limit = min(container.cpu_limit, most_cpu) if most_cpu else container.cpu_limit
        quota = max(_MINIMUM_QUOTA, limit * _CPU_PERIOD // 1000)
        asked |= {"CpuPeriod": _CPU_PERIOD, "CpuQuota": quota}
    if container.memory_limit is not None:
        asked |= {"Memory": container.memory_limit, "MemorySwap": container.memory_limit}
    return asked


def _security(container: ContainerSpec, fs_group: int | None) -> dict[str, Any]:
    security = container.security
    groups = dict.fromkeys([*security.supplemental_groups, *([] if fs_group is None else [fs_group])])
    options = [] if security.allow_privilege_escalation or security.privileged else ["no-new-privileges"]
    if security.seccomp:
        options.append(f"seccomp={security.seccomp}")
    if security.apparmor == "unconfined":
        options.append("apparmor=unconfined")
    options += [f"label={part}" for part in security.selinux]
    return {
        "Privileged": security.privileged,
        "ReadonlyRootfs": security.read_only_root,
        "CapAdd": list(security.cap_add),
        "CapDrop": list(security.cap_drop),
        "GroupAdd": [str(group) for group in groups],
        "SecurityOpt": options,
    }
