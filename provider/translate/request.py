"""Pod -> InstanceRequest. Pure; what the pod refers to comes in as `References`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from provider.model.errors import Rejection
from provider.model.ids import PodUid, VSwitchId, ZoneId
from provider.model.pod import Lifecycle
from provider.model.pod_security import PodSecurity
from provider.model.profile import PLAIN, Profile
from provider.model.request import ContainerKind, ContainerSpec, HostAlias, InstanceRequest, PullPolicy, RestartPolicy
from provider.model.volume import VolumeMount
from provider.translate.bill_tags import bill_tags
from provider.translate.credentials import credentials
from provider.translate.dns import dns_config
from provider.translate.environment import environment
from provider.translate.handlers import choice, hook, probe, restart_rules
from provider.translate.instance_size import size_plan
from provider.translate.security import security, sysctls
from provider.translate.sizing import is_sidecar, pod_limits, requests_and_limits
from provider.translate.volumes import host_path, mounted_volumes, volume

if TYPE_CHECKING:
    from provider.model.pod import Container, Pod
    from provider.model.pod_volumes import Mount
    from provider.model.size import InstanceSize
    from provider.translate.instance_size import SizePlan
    from provider.translate.references import References

SIMULATE_PREFIX = "simulate.zonelet.dev/"
_LONGEST_HOSTNAME, _LONGEST_FQDN = 63, 64
"""Linux: a nodename of 64 characters."""


class Placement(Struct, frozen=True, kw_only=True):
    """What the node adds: its zone, vSwitches, and the cluster's DNS."""

    zone: ZoneId
    vswitches: tuple[VSwitchId, ...] = ()
    cluster_dns: tuple[str, ...] = ()
    cluster_domain: str = "cluster.local"
    host_paths: tuple[str, ...] = ()
    """what hostPath volumes may show: these paths, and what is below them."""
    profile: Profile = PLAIN
    """what the cloud sells."""


def instance_request(pod: Pod, references: References, placement: Placement) -> InstanceRequest:
    """Return the request of an admitted pod. Raises Rejection (see environment and volumes for what waits)."""
    spec, meta = pod.spec, pod.metadata
    plan = size_plan(pod, placement.profile)
    size = plan.sizes[0]
    groups = (("initContainers", spec.init_containers or []), ("containers", spec.containers))
    hostname, domain = _hostname(pod, placement.cluster_domain)
    grace = 30 if spec.termination_grace_period_seconds is None else spec.termination_grace_period_seconds
    hints = sorted((meta.annotations or {}).items())
    return InstanceRequest(
        uid=PodUid(meta.uid),
        zone=placement.zone,
        name=meta.name,
        namespace=meta.namespace,
        containers=_with_surplus(
            tuple(
                _container(pod, one, references, f"spec.{group}[{index}]", init=group == "initContainers")
                for group, containers in groups
                for index, one in enumerate(containers)
            ),
            plan if placement.profile.surplus_to_first else None,
        ),
        restart_policy=choice(RestartPolicy, spec.restart_policy, "spec.restartPolicy"),
        cpu=size.cpu,
        memory=size.memory,
        sizes=() if placement.profile.grid is None else plan.sizes,
        market=plan.market,
        priority=spec.priority or 0,
        ephemeral_storage=plan.disk,
        extra_disk=plan.extra_disk,
        storage_limit=pod_limits(spec).get("ephemeral-storage") or None,
        vswitches=placement.vswitches,
        volumes=tuple(
            host_path(one, placement.host_paths, f"spec.volumes[{i}]")
            or volume(pod, one, references, f"spec.volumes[{i}]")
            for i, one in mounted_volumes(spec)
        ),
        hostname=hostname,
        domain=domain,
        fqdn=_is_fqdn(pod, hostname, domain),
        host_aliases=tuple(HostAlias(one.ip, tuple(one.hostnames or ())) for one in spec.host_aliases or ()),
        dns=dns_config(pod, placement.cluster_dns, placement.cluster_domain),
        active_deadline=spec.active_deadline_seconds,
        grace=grace,
        fs_group=(spec.security_context or PodSecurity()).fs_group,
        sysctls=sysctls(pod),
        share_processes=bool(spec.share_process_namespace),
        credentials=credentials(spec, references),
        tags=bill_tags(pod),
        simulate=tuple((k.removeprefix(SIMULATE_PREFIX), v) for k, v in hints if k.startswith(SIMULATE_PREFIX)),
    )


def _with_surplus(containers: tuple[ContainerSpec, ...], plan: SizePlan | None) -> tuple[ContainerSpec, ...]:
    """Give what rounding adds to the first app container, as ACS does; its limits grow where it has any."""
    if plan is None:
        return containers
    cpu, memory = (max(0, sold - asked) for sold, asked in zip(_both(plan.sizes[0]), plan.asked, strict=True))
    first = next(index for index, one in enumerate(containers) if one.kind is ContainerKind.APP)
    grown = replace(
        containers[first],
        cpu_request=containers[first].cpu_request + cpu,
        memory_request=containers[first].memory_request + memory,
        cpu_limit=_more(containers[first].cpu_limit, cpu),
        memory_limit=_more(containers[first].memory_limit, memory),
    )
    return (*containers[:first], grown, *containers[first + 1 :])


def _both(size: InstanceSize) -> tuple[int, int]:
    return size.cpu, size.memory


def _more(limit: int | None, surplus: int) -> int | None:
    return None if limit is None else limit + surplus


def _container(pod: Pod, one: Container, references: References, path: str, *, init: bool) -> ContainerSpec:
    requests, limits = requests_and_limits(one.resources, path)
    lifecycle, own_policy = one.lifecycle or Lifecycle(), one.restart_policy
    kind = ContainerKind.APP
    if init:
        kind = ContainerKind.SIDECAR if is_sidecar(one) else ContainerKind.INIT
    return ContainerSpec(
        name=one.name,
        image=one.image,
        kind=kind,
        pull_policy=choice(PullPolicy, one.image_pull_policy or "IfNotPresent", f"{path}.imagePullPolicy"),
        command=tuple(one.command) if one.command else None,
        args=tuple(one.args) if one.args else None,
        working_dir=one.working_dir,
        env=environment(pod, one, references, path),
        mounts=tuple(_mount(mount) for mount in one.volume_mounts or ()),
        cpu_request=requests.get("cpu", 0),
        cpu_limit=limits.get("cpu") or None,
        memory_request=requests.get("memory", 0),
        memory_limit=limits.get("memory") or None,
        storage_limit=limits.get("ephemeral-storage") or None,
        security=security(pod, one),
        tty=one.tty,
        stdin=one.stdin,
        stdin_once=one.stdin_once,
        stop_signal=lifecycle.stop_signal or "",
        termination_path=one.termination_message_path,
        termination_fallback_to_logs=one.termination_message_policy == "FallbackToLogsOnError",
        readiness=probe(one, one.readiness_probe, f"{path}.readinessProbe"),
        liveness=probe(one, one.liveness_probe, f"{path}.livenessProbe"),
        startup=probe(one, one.startup_probe, f"{path}.startupProbe"),
        post_start=hook(one, lifecycle.post_start, f"{path}.lifecycle.postStart"),
        pre_stop=hook(one, lifecycle.pre_stop, f"{path}.lifecycle.preStop"),
        restart_policy=choice(RestartPolicy, own_policy, f"{path}.restartPolicy") if own_policy else None,
        restart_rules=restart_rules(one),
    )


def _mount(mount: Mount) -> VolumeMount:
    path = mount.sub_path_expr or mount.sub_path
    return VolumeMount(mount.name, mount.mount_path, path, mount.read_only, expand=bool(mount.sub_path_expr))


def _hostname(pod: Pod, domain: str) -> tuple[str, str]:
    """Return hostname and domain (kubelet_pods.go GeneratePodHostNameAndDomain)."""
    spec, meta = pod.spec, pod.metadata
    if spec.hostname_override is not None:
        return _short(spec.hostname_override), ""
    below = f"{spec.subdomain}.{meta.namespace}.svc.{domain}" if spec.subdomain else ""
    return _short(spec.hostname or meta.name), below


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_HOSTNAME else name[:_LONGEST_HOSTNAME].rstrip("-.")


def _is_fqdn(pod: Pod, hostname: str, domain: str) -> bool:
    """Return whether the kernel's hostname is the FQDN. Raises Rejection, not terminal, where it does not fit."""
    if not (pod.spec.set_hostname_as_fqdn and domain):
        return False
    name = f"{hostname}.{domain}"
    if len(name) > _LONGEST_FQDN:
        text = (
            "Failed to create pod sandbox: failed to construct FQDN from pod hostname and cluster domain, "
            f"FQDN {name} is too long ({_LONGEST_FQDN} characters is the max, {len(name)} characters requested)"
        )
        raise Rejection("FailedCreatePodSandBox", text, terminal=False, waiting="ContainerCreating")
    return True
