"""`zonelet up --cluster current`: joins the cluster of the current kubeconfig context (leaving.py undoes it).

Nothing is built but the installation's own two images. The provider gets a service account with its small role, the
default taint NoSchedule and, for a cluster whose own nodes are Docker containers (kind, k3d), the Docker network where
they are. Argo is the cluster's own business.
"""

from __future__ import annotations

import os
from contextlib import closing
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

from provider.cloud.runtime.docker_engine.client import open_client
from provider.cluster.argo import render_tolerations
from provider.cluster.blocks import choose_blocks_for, host_address
from provider.cluster.build import cache_root
from provider.cluster.build_cache import exclusive
from provider.cluster.engine import ensure_engine, open_engine
from provider.cluster.images import ensure_own_images
from provider.cluster.installation import Record
from provider.cluster.manifests import Manifests
from provider.cluster.pki import write_private
from provider.cluster.provider_access import grant_access, permissions
from provider.cluster.provider_config import config_text, given_config, write_config
from provider.cluster.provider_daemon import start_provider, wait_for_nodes
from provider.cluster.steps import SetupError
from provider.cluster.undo import undoing_up
from provider.config.load import load, node_name
from provider.kube.client import HttpKubeApi, KubeError
from provider.kube.connection import IN_CLUSTER, KubeConfigError

if TYPE_CHECKING:
    from provider.cluster.installation import Installation
    from provider.cluster.steps import Steps
    from provider.config.schema import ProviderConfig
    from provider.kube.client import Json

__all__ = ["absolute", "docker_network_of", "join_cluster", "missing_permissions"]


async def join_cluster(
    installation: Installation, steps: Steps, *, config: Path | None = None, start: bool = True
) -> tuple[str, ...]:
    """Join, and return the names of the nodes; what this call made is undone when a step fails.

    Without `start` all is made ready for a provider that the caller runs itself (`provider_command`). ConfigError for a
    bad configuration, SetupError when a step fails.
    """
    chosen, given = given_config(config, installation.name)
    with exclusive(cache_root(), f"up-{installation.name}", steps.note):
        before = installation.record()
        await installation.require_unserved()
        api = await _connect(os.environ.get("KUBECONFIG"), None)
        try:
            connection, host = api.connection, chosen.runtime.docker.host
            record = Record("current", connection.context, connection.server, absolute(connection.source), host)
            if before is not None and (before.cluster, before.server) != ("current", connection.server):
                raise SetupError(
                    f"the installation {installation.name} is there already, in {before.server or 'its local cluster'}",
                    f"the current context {connection.context} is another cluster",
                    f"run: zonelet down --name {installation.name}, or: zonelet up --cluster current --name OTHER",
                )
            with steps.step(f"look whether you may do what is needed in {connection.context} ({connection.server})"):
                await _preflight(api, installation, chosen)
            async with undoing_up(installation, steps):
                names = await _join(installation, steps, chosen, given, api, record)
                if start:
                    await _start(installation, steps, api, names)
            return names
        finally:
            await api.close()


async def missing_permissions(api: HttpKubeApi, installation: str) -> list[str]:
    """Return what the current user may not do and has to, to hand out the provider's role; KubeError."""
    missing = []
    for attributes in permissions(installation):
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        }
        answer = await api.create("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review)
        if not answer["status"].get("allowed"):
            resource = "/".join(filter(None, (attributes["resource"], attributes.get("subresource"))))
            group = f".{attributes['group']}" if attributes["group"] else ""
            missing.append(f"{attributes['verb']} {resource}{group}")
    return list(dict.fromkeys(missing))


def docker_network_of(context: str, networks: list[str]) -> str:
    """Return the Docker network of a kind or k3d cluster, by its context's name; empty for any other cluster."""
    wanted = "kind" if context.startswith("kind-") else context if context.startswith("k3d-") else ""
    return wanted if wanted in networks else ""


def absolute(source: str) -> str:
    """Return the paths of a $KUBECONFIG as they are found from any directory: `down` may be called elsewhere."""
    if source == IN_CLUSTER:
        return source
    return os.pathsep.join(str(Path(each).expanduser().absolute()) for each in source.split(os.pathsep) if each)


async def _connect(kubeconfig: str | None, context: str | None) -> HttpKubeApi:
    try:
        return await HttpKubeApi.from_environment(kubeconfig, context)
    except KubeConfigError as error:
        raise SetupError(
            "there is no cluster to join", str(error), "see: kubectl config current-context; or run: zonelet up"
        ) from error


async def _preflight(api: HttpKubeApi, installation: Installation, chosen: ProviderConfig) -> None:
    try:
        missing = await missing_permissions(api, installation.name)
        nodes = await api.list("/api/v1/nodes")
    except KubeError as error:
        raise SetupError(
            f"the cluster {api.connection.server} refuses or does not answer",
            str(error),
            "see whether `kubectl get nodes` works with the current context",
        ) from error
    if missing:
        raise SetupError(
            "you may not do in this cluster what joining it needs",
            f"refused: {', '.join(missing)}",
            "take a context whose user is bound to cluster-admin, for example",
        )
    own = f"zonelet://{chosen.region}/{installation.name}/"
    names = {node_name(zone) for zone in chosen.zones}
    taken = [
        each["metadata"]["name"]
        for each in nodes["items"]
        if each["metadata"]["name"] in names and not str(each["spec"].get("providerID", "")).startswith(own)
    ]
    if taken:
        raise SetupError(
            f"the cluster has nodes of these names already: {', '.join(taken)}",
            "they are not this installation's",
            "give the zones other names (zones[].nodeName) and run: zonelet up --cluster current --config FILE",
        )


async def _join(
    installation: Installation,
    steps: Steps,
    chosen: ProviderConfig,
    given: dict[str, Any],
    api: HttpKubeApi,
    record: Record,
) -> tuple[str, ...]:
    cache, clock = cache_root(), installation.clock
    with steps.step("find a Docker engine, or install and start one") as report:
        await ensure_engine(cache / "engine", clock, report, chosen.runtime.docker.host)
    host = chosen.runtime.docker.host
    with steps.step("make its own images, or find them in the engine") as report, closing(open_engine(host)) as engine:
        ensure_own_images(engine, cache, report)
        networks = [str(each.name) for each in engine.networks.list()]
    with steps.step("choose address blocks") as report:
        installation.write_record(record)
        network = chosen.runtime.docker.network or docker_network_of(record.context, networks)
        ranges = await _cluster_ranges(api)
        async with open_client(host) as client:
            if network:
                await host_address(client, network)  # it has to be there
            blocks = await choose_blocks_for(client, installation, chosen, ranges, own=not network)
        told = [f"{zone} {cidr}" for zone, cidr in blocks.zones.items()]
        report(", ".join([*told, f"network {network or blocks.cluster}"]))
        defaults: Json = {"runtime": {"docker": {"network": network}}} if network else {}
        changed = write_config(installation, config_text(installation, chosen, given, defaults, blocks.zones))
    if changed:
        await installation.provider.stop(clock)
    config = load(installation.provider_config)
    with steps.step("give the provider its role and credential"):
        token = await grant_access(api, installation.name, clock)
        ca_file = installation.state / "cluster-ca.crt"
        write_private(ca_file, api.connection.ca)
        user = {"token": token}
        write_private(installation.provider_kubeconfig, api.connection.kubeconfig(installation.name, user, ca_file))
        await _tolerations(api, config, steps)
    return tuple(node_name(zone) for zone in config.zones)


async def _start(installation: Installation, steps: Steps, api: HttpKubeApi, names: tuple[str, ...]) -> None:
    with steps.step(f"start the provider, wait for {len(names)} nodes") as report:
        start_provider(installation)
        await wait_for_nodes(installation, api, names, report)


async def _cluster_ranges(api: HttpKubeApi) -> list[tuple[str, str]]:
    """Return the cluster's pod and service ranges as far as the API tells them: (CIDR, owner)."""
    nodes = await api.list("/api/v1/nodes")
    found = [
        (cidr, f"pods of node {each['metadata']['name']}")
        for each in nodes["items"]
        for cidr in each["spec"].get("podCIDRs") or ()
    ]
    try:
        services = await api.list("/apis/networking.k8s.io/v1/servicecidrs")  # from Kubernetes 1.33 on
    except KubeError as error:
        if error.code not in (HTTPStatus.NOT_FOUND, HTTPStatus.FORBIDDEN):
            raise
        services = {"items": []}
    found += [(cidr, "services of the cluster") for each in services["items"] for cidr in each["spec"]["cidrs"]]
    return found


async def _tolerations(api: HttpKubeApi, config: ProviderConfig, steps: Steps) -> None:
    """Apply the policy that lets labelled namespaces past the taint, where the API server knows such policies."""
    if config.node.taint == "none":
        return
    try:
        await Manifests(api).apply_own(render_tolerations(config.node.taint_key, config.name))
    except KubeError as error:
        if error.code not in (HTTPStatus.NOT_FOUND, HTTPStatus.FORBIDDEN):
            raise
        steps.note(
            f"    no toleration policy ({error.reason}): pods need their own toleration of {config.node.taint_key}; "
            "for Argo see workflowDefaults in deploy/kustomize/tolerations/policy.yaml"
        )
