"""From a request to what the runtime is told: the sandbox, one attempt of a container. Pure."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

import msgspec

from provider.cloud.capacity.stock import Size
from provider.cloud.instances.expand import expand_env, expand_words
from provider.cloud.instances.wording import pod_text
from provider.cloud.runtime.base import FaultKind, RunSpec, RuntimeFault, SandboxSpec
from provider.model.expansion import expand, missing
from provider.model.ids import InstanceId
from provider.model.request import ContainerKind
from provider.model.volume import FilesVolume

if TYPE_CHECKING:
    from collections.abc import Mapping

    from provider.model.ids import PodUid, VSwitchId
    from provider.model.request import ContainerSpec, InstanceRequest
    from provider.model.volume import VolumeMount

_ID_LENGTH = 20
_LONGEST_USER_ID = 2**31 - 1


def instance_id(uid: PodUid) -> InstanceId:
    """Return the cloud's name of an instance: `eci-` and 20 characters of [0-9a-z] that follow from the UID."""
    number = int.from_bytes(sha256(uid.encode()).digest())
    digits = []
    for _ in range(_ID_LENGTH):
        number, digit = divmod(number, 36)
        digits.append("0123456789abcdefghijklmnopqrstuvwxyz"[digit])
    return InstanceId("eci-" + "".join(digits))


def size_of(request: InstanceRequest) -> Size:
    """Return the emulated size that stock and bill count."""
    return Size(request.cpu, request.memory, request.ephemeral_storage)


def sizes_of(request: InstanceRequest) -> tuple[Size, ...]:
    """Return the sizes that it may be sold, in the order to try; a cloud without sizes has one."""
    sizes = [Size(one.cpu, one.memory, request.ephemeral_storage) for one in request.sizes]
    return tuple(dict.fromkeys(sizes)) or (size_of(request),)


def sold_as(request: InstanceRequest, size: Size) -> InstanceRequest:
    """Return the request with the size that was sold of those that it names."""
    return msgspec.structs.replace(request, cpu=size.cpu, memory=size.memory)


def fixed_part(request: InstanceRequest) -> InstanceRequest:
    """Return the request without what may change while it lives: files, logins, deadline, tags, the size sold."""
    if request.sizes:
        request = msgspec.structs.replace(request, cpu=request.sizes[0].cpu, memory=request.sizes[0].memory)
    volumes = tuple(FilesVolume(one.name) if isinstance(one, FilesVolume) else one for one in request.volumes)
    return msgspec.structs.replace(request, volumes=volumes, credentials=(), active_deadline=None, tags=())


def spec_hash(request: InstanceRequest) -> str:
    """Return 16 hex digits that follow from the fixed part of a request."""
    return sha256(msgspec.json.encode(fixed_part(request))).hexdigest()[:16]


def limits(request: InstanceRequest) -> tuple[int, int]:
    """Return the CPU (milli-cores) and memory (bytes) that the whole instance may use, 0: no limit.

    Where the cloud has sizes, that is the instance's size, which its containers share. Where it has none, the kubelet's
    rule for a pod's cgroup (cm/helpers_linux.go ResourceConfigForPod): only where every container has a limit; the sum
    of the app containers and sidecars, or an init container beside the sidecars before it if that is more. The emulated
    size (`request.cpu`) then is what is sold, not what is enforced.
    """
    if request.sizes:
        return request.cpu, request.memory
    return _limit([(one.kind, one.cpu_limit) for one in request.containers]), _limit(
        [(one.kind, one.memory_limit) for one in request.containers]
    )


def _limit(containers: list[tuple[ContainerKind, int | None]]) -> int:
    sidecars = peak = apps = 0
    for kind, limit in containers:
        if not limit:
            return 0
        if kind is ContainerKind.APP:
            apps += limit
        elif kind is ContainerKind.SIDECAR:
            sidecars += limit
            peak = max(peak, sidecars)
        else:
            peak = max(peak, sidecars + limit)
    return max(apps + sidecars, peak)


def sandbox_spec(request: InstanceRequest, vswitch: VSwitchId, address: str) -> SandboxSpec:
    """Return the sandbox of a placed instance; its labels carry what is fixed at creation."""
    cpu, memory = limits(request)
    labels = {
        **dict(request.tags),  # first: no tag may say what the cloud says
        "id": instance_id(request.uid),
        "name": request.name,
        "namespace": request.namespace,
        "spec-hash": spec_hash(request),
        "cpu": str(request.cpu),
        "memory": str(request.memory),
        "market": request.market,
    }
    hostname = request.hostname or request.name[:63].rstrip("-.")
    return SandboxSpec(
        uid=request.uid,
        zone=request.zone,
        vswitch=vswitch,
        address=address,
        name=request.name,
        namespace=request.namespace,
        hostname=hostname,
        domain=request.domain,
        kernel_hostname=f"{hostname}.{request.domain}" if request.fqdn and request.domain else "",
        host_aliases=request.host_aliases,
        dns=request.dns,
        volumes=request.volumes,
        fs_group=request.fs_group,
        sysctls=request.sysctls,
        share_processes=request.share_processes,
        cpu=cpu,
        memory=memory,
        labels=tuple(labels.items()),
    )


def run_spec(request: InstanceRequest, container: ContainerSpec, attempt: int, image_id: str, address: str) -> RunSpec:
    """Return one attempt with its environment, command, arguments and subPaths expanded. RuntimeFault CONFIG."""
    env = expand_env(container.env, address)
    return RunSpec(
        uid=request.uid,
        zone=request.zone,
        attempt=attempt,
        container=msgspec.structs.replace(
            container,
            command=expand_words(container.command, env),
            args=expand_words(container.args, env),
            mounts=tuple(_mount(mount, env) for mount in container.mounts),
        ),
        env=tuple(env.items()),
        image_id=image_id,
        simulate=request.simulate,
    )


def _mount(mount: VolumeMount, env: Mapping[str, str]) -> VolumeMount:
    if not mount.expand:
        return mount
    lacking = missing(mount.sub_path, env)
    if lacking:
        raise RuntimeFault(FaultKind.CONFIG, f"missing value for {', '.join(lacking)}")
    path = expand(mount.sub_path, env)
    if path.startswith("/"):  # what a subPath says itself, the API server has looked at (kubelet_pods.go makeMounts)
        raise RuntimeFault(FaultKind.CONFIG, f"error SubPath `{path}` must not be an absolute path")
    if ".." in path.split("/"):
        raise RuntimeFault(FaultKind.CONFIG, f"unable to provision SubPath `{path}`: must not contain '..'")
    return msgspec.structs.replace(mount, sub_path=path, expand=False)


def root_refusal(request: InstanceRequest, container: ContainerSpec, image_user: str) -> str:
    """Return why runAsNonRoot forbids the container, "" if it does not (security_context_others.go verifyRunAsNonRoot).

    `image_user` is USER of the image; none means root (helpers.go getImageUser).
    """
    security = container.security
    if not security.run_as_non_root:
        return ""
    where = f'(pod: "{pod_text(request)}", container: {container.name})'
    if security.user is not None:
        return "" if security.user else f"container's runAsUser breaks non-root policy {where}"
    user = image_user.partition(":")[0] or "0"
    if not user.isdecimal():
        return (
            f"container has runAsNonRoot and image has non-numeric user ({user}), "
            f"cannot verify user is non-root {where}"
        )
    if int(user) == 0:
        return f"container has runAsNonRoot and image will run as root {where}"
    if int(user) > _LONGEST_USER_ID:
        return (
            f"container has runAsNonRoot and image has an invalid user id ({user}). "
            f"(Must be 1-({_LONGEST_USER_ID})): must be between 0 and {_LONGEST_USER_ID}, inclusive {where}"
        )
    return ""
