"""Looks at the cluster: the installation's own one, or the one of the current context that could be joined."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING

from provider.cluster.doctor_finding import Finding, State
from provider.cluster.joined import missing_permissions
from provider.cluster.provider_config import installed_config
from provider.config.load import node_name
from provider.kube.client import HttpKubeApi, KubeError
from provider.kube.connection import KubeConfigError

if TYPE_CHECKING:
    from provider.cluster.installation import Installation
    from provider.kube.client import Json, KubeApi

__all__ = ["check_cluster", "check_kubelet_ports", "pending_certificates"]

_CONNECT_SECONDS = 3.0
_ANSWER_SECONDS = 10.0
_SIGNER = "kubernetes.io/kubelet-serving"


async def check_cluster(installation: Installation) -> list[Finding]:
    """Look at the cluster that the installation is in; without one, at the current context."""
    record = installation.record()
    local = record is not None and record.cluster == "local"
    means = "needed for `zonelet up --cluster current` only"
    try:
        async with asyncio.timeout(_ANSWER_SECONDS):
            if local:
                api = await HttpKubeApi.from_kubeconfig(str(installation.local.kubeconfig))
            elif record is not None:
                api = await HttpKubeApi.from_environment(record.kubeconfig or None, record.context)
            else:
                api = await HttpKubeApi.from_environment()
            try:
                found = [] if local else [await _rights(api, installation)]
                if record is not None:
                    found.append(await check_kubelet_ports(api, installation))
                    found.append(pending_certificates(await _requests(api), local=local))
                return found
            finally:
                await api.close()
    except KubeConfigError:
        return [Finding("cluster", State.OK, "no current context", means)]
    except (KubeError, TimeoutError) as error:
        told = str(error) or f"no answer in {_ANSWER_SECONDS:.0f} s"
        if record is None:
            return [Finding("cluster", State.NOTE, told, means, "see whether `kubectl get nodes` works")]
        advice = f"run: zonelet up --name {installation.name}" if local else "see whether `kubectl get nodes` works"
        return [Finding("cluster", State.MISSING, told, "the installation's nodes are there", advice)]


async def check_kubelet_ports(api: KubeApi, installation: Installation) -> Finding:
    """See whether this host, where the local API server is, reaches each node's kubelet port."""
    means = "kubectl logs and exec go from the API server to this port; nothing needs the host to reach pods"
    config = installed_config(installation)
    unreached, reached = [], []
    for zone in () if config is None else config.zones:
        address, port = _endpoint(await _node(api, node_name(zone)))
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                _, writer = await asyncio.open_connection(address, port)
        except (OSError, TimeoutError) as error:
            unreached.append(f"{node_name(zone)} {address}:{port}: {str(error) or 'no answer'}")
        else:
            writer.close()
            reached.append(f"{address}:{port}")
    if unreached:
        advice = "see zonelet status, and the provider's log; is there a firewall between host and cluster network?"
        return Finding("host to nodes", State.MISSING, "; ".join(unreached), means, advice)
    return Finding("host to nodes", State.OK, ", ".join(reached) or "no node is configured", means)


def pending_certificates(requests: list[Json], *, local: bool) -> Finding:
    """Tell how to approve the serving certificates that wait."""
    waiting = [
        each["metadata"]["name"]
        for each in requests
        if each["spec"]["signerName"] == _SIGNER and not each.get("status", {}).get("conditions")
    ]
    means = "the API server verifies the certificate of a node's kubelet port; Kubernetes approves none by itself"
    if not waiting:
        return Finding("serving certificates", State.OK, "none waits for an approval", means)
    advice = (
        "the local cluster's approver should have done it: see zonelet status"
        if local
        else f"compare, then: kubectl certificate approve {' '.join(waiting)}"
    )
    return Finding("serving certificates", State.MISSING, f"{len(waiting)} wait for an approval", means, advice)


async def _rights(api: HttpKubeApi, installation: Installation) -> Finding:
    missing, context = await missing_permissions(api, installation.name), api.connection.context
    means = "to join the cluster of the current context, one hands the provider's role out"
    if missing:
        advice = "take a context whose user is bound to cluster-admin; not needed for the local cluster"
        return Finding("RBAC", State.NOTE, f"refused in {context}: {', '.join(missing)}", means, advice)
    return Finding("RBAC", State.OK, f"all granted in {context}", means)


async def _requests(api: KubeApi) -> list[Json]:
    listed = await api.list("/apis/certificates.k8s.io/v1/certificatesigningrequests")
    return list(listed["items"])


async def _node(api: KubeApi, name: str) -> Json:
    try:
        return await api.get(f"/api/v1/nodes/{name}")
    except KubeError as error:
        if error.code == HTTPStatus.NOT_FOUND:
            return {}
        raise


def _endpoint(node: Json) -> tuple[str, int]:
    status = node.get("status", {})
    addresses = [each["address"] for each in status.get("addresses") or () if each["type"] == "InternalIP"]
    port = status.get("daemonEndpoints", {}).get("kubeletEndpoint", {}).get("Port", 10250)
    return (addresses or [""])[0], int(port)
