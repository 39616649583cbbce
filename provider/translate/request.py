"""Pod -> InstanceRequest. Pure; what the pod refers to comes in as `References`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from provider.model.ids import PodUid, VSwitchId, ZoneId
from provider.model.instance import (
    ContainerKind,
    ContainerSpec,
    DnsConfig,
    HostAlias,
    InstanceRequest,
    PullPolicy,
    RestartPolicy,
    SecurityContext,
    VolumeMount,
)
from provider.model.pod import Capabilities, ContainerSecurity, PodSecurity
from provider.translate.credentials import credentials
from provider.translate.environment import environment
from provider.translate.handlers import probe
from provider.translate.sizing import is_sidecar, pod_requests, requests_and_limits
from provider.translate.volumes import volume

if TYPE_CHECKING:
    from provider.model.pod import Container, Pod
    from provider.translate.references import References

SIMULATE_PREFIX = "simulate.zonelet.dev/"


class Placement(Struct, frozen=True, kw_only=True):
    """What the node adds: its zone, vSwitches, and the cluster's DNS."""

    zone: ZoneId
    vswitches: tuple[VSwitchId, ...] = ()
    cluster_dns: tuple[str, ...] = ()
    cluster_domain: str = "cluster.local"


def instance_request(pod: Pod, references: References, placement: Placement) -> InstanceRequest:
    """Return the request of an admitted pod. Raises Rejection (see environment and volumes for what waits)."""
    spec, meta = pod.spec, pod.metadata
    size = pod_requests(spec)
    security = spec.security_context or PodSecurity()
    groups = (("initContainers", spec.init_containers or []), ("containers", spec.containers))
    domain = f"{spec.subdomain}.{meta.namespace}.svc.{placement.cluster_domain}" if spec.subdomain else ""
    grace = 30 if spec.termination_grace_period_seconds is None else spec.termination_grace_period_seconds
    hints = sorted((meta.annotations or {}).items())
    return InstanceRequest(
        uid=PodUid(meta.uid),
        zone=placement.zone,
        name=meta.name,
        namespace=meta.namespace,
        containers=tuple(
            _container(pod, one, references, f"spec.{group}[{index}]", init=group == "initContainers")
            for group, containers in groups
            for index, one in enumerate(containers)
        ),
        restart_policy=RestartPolicy(spec.restart_policy),
        cpu=size.get("cpu", 0),
        memory=size.get("memory", 0),
        ephemeral_storage=size.get("ephemeral-storage", 0),
        vswitches=placement.vswitches,
        volumes=tuple(volume(pod, one, references, f"spec.volumes[{i}]") for i, one in enumerate(spec.volumes or ())),
        hostname=spec.hostname or meta.name[:63].rstrip("-."),
        domain=domain,
        host_aliases=tuple(HostAlias(one.ip, tuple(one.hostnames or ())) for one in spec.host_aliases or ()),
        dns=_dns(pod, placement),
        active_deadline=spec.active_deadline_seconds,
        grace=grace,
        fs_group=security.fs_group,
        credentials=credentials(spec, references),
        simulate=tuple((k.removeprefix(SIMULATE_PREFIX), v) for k, v in hints if k.startswith(SIMULATE_PREFIX)),
    )


def _container(pod: Pod, one: Container, references: References, path: str, *, init: bool) -> ContainerSpec:
    requests, limits = requests_and_limits(one.resources, path)
    kind = ContainerKind.APP
    if init:
        kind = ContainerKind.SIDECAR if is_sidecar(one) else ContainerKind.INIT
    return ContainerSpec(
        name=one.name,
        image=one.image,
        kind=kind,
        pull_policy=PullPolicy(one.image_pull_policy),
        command=tuple(one.command) if one.command else None,
        args=tuple(one.args) if one.args else None,
        working_dir=one.working_dir,
        env=environment(pod, one, references, path),
        mounts=tuple(VolumeMount(m.name, m.mount_path, m.sub_path, m.read_only) for m in one.volume_mounts or ()),
        cpu_request=requests.get("cpu", 0),
        cpu_limit=limits.get("cpu") or None,
        memory_request=requests.get("memory", 0),
        memory_limit=limits.get("memory") or None,
        security=_security(pod.spec.security_context or PodSecurity(), one.security_context or ContainerSecurity()),
        tty=one.tty,
        stdin=one.stdin,
        stdin_once=one.stdin_once,
        termination_path=one.termination_message_path,
        termination_fallback_to_logs=one.termination_message_policy == "FallbackToLogsOnError",
        readiness=probe(one, one.readiness_probe, f"{path}.readinessProbe"),
        liveness=probe(one, one.liveness_probe, f"{path}.livenessProbe"),
        startup=probe(one, one.startup_probe, f"{path}.startupProbe"),
    )


def _security(pod: PodSecurity, own: ContainerSecurity) -> SecurityContext:
    capabilities = own.capabilities or Capabilities()
    seccomp = own.seccomp_profile or pod.seccomp_profile
    non_root = pod.run_as_non_root if own.run_as_non_root is None else own.run_as_non_root
    return SecurityContext(
        user=pod.run_as_user if own.run_as_user is None else own.run_as_user,
        group=pod.run_as_group if own.run_as_group is None else own.run_as_group,
        run_as_non_root=bool(non_root),
        supplemental_groups=tuple(pod.supplemental_groups or ()),
        privileged=bool(own.privileged),
        allow_privilege_escalation=own.allow_privilege_escalation is not False,
        read_only_root=bool(own.read_only_root_filesystem),
        cap_add=tuple(capabilities.add or ()),
        cap_drop=tuple(capabilities.drop or ()),
        seccomp="unconfined" if seccomp is not None and seccomp.type == "Unconfined" else "",
    )


def _dns(pod: Pod, placement: Placement) -> DnsConfig:
    spec, domain = pod.spec, placement.cluster_domain
    base = DnsConfig(from_host=spec.dns_policy == "Default")
    if spec.dns_policy.startswith("ClusterFirst"):
        searches = (f"{pod.metadata.namespace}.svc.{domain}", f"svc.{domain}", domain)
        base = DnsConfig(placement.cluster_dns, searches, ("ndots:5",), from_host=not placement.cluster_dns)
    own = spec.dns_config
    if own is None:
        return base
    options = dict(option.partition(":")[::2] for option in base.options)
    options |= {option.name: option.value or "" for option in own.options or ()}
    return DnsConfig(
        tuple(dict.fromkeys((*base.nameservers, *(own.nameservers or ())))),
        tuple(dict.fromkeys((*base.searches, *(own.searches or ())))),
        tuple(f"{name}:{value}" if value else name for name, value in options.items()),
        from_host=base.from_host,
    )
