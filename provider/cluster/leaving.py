"""Leaves a cluster that was joined: takes out what joined.py and the provider have put there, and nothing else."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from provider.cluster.argo import render_tolerations
from provider.cluster.manifests import Manifests
from provider.cluster.provider_access import revoke_access
from provider.cluster.steps import SetupError
from provider.kube.client import HttpKubeApi, KubeError
from provider.kube.connection import KubeConfigError
from provider.node.shape import installation_of

if TYPE_CHECKING:
    from provider.cluster.installation import Installation, Record
    from provider.kube.client import KubeApi

__all__ = ["leave_cluster", "remove_from_cluster"]


async def leave_cluster(installation: Installation, record: Record) -> None:
    """Remove the installation from the cluster that it joined; SetupError when that does not answer."""
    try:
        api = await HttpKubeApi.from_environment(record.kubeconfig or None, record.context)
        try:
            await remove_from_cluster(api, installation.name)
        finally:
            await api.close()
    except (KubeError, KubeConfigError) as error:
        raise SetupError(
            f"Nodes and roles of {installation.name} may be left in the cluster {record.server}",
            str(error),
            f"see whether `kubectl --context {record.context} get nodes` works, then run: zonelet down --name "
            f"{installation.name}; if that cluster is gone for good: zonelet down --name {installation.name} "
            "--forget-cluster",
        ) from error


async def remove_from_cluster(api: KubeApi, installation: str) -> None:
    """Delete the installation's Nodes, role, account and toleration policy; KubeError.

    Nodes are known by their providerID, of whatever configuration they are; the rest by the mark of `apply_own`.
    """
    for node in (await api.list("/api/v1/nodes"))["items"]:
        if installation_of(node) == installation:
            await _delete_node(api, node["metadata"]["name"], node["metadata"]["uid"])
    await revoke_access(api, installation)
    await Manifests(api).remove_own(render_tolerations("any", installation))


async def _delete_node(api: KubeApi, name: str, uid: str) -> None:
    try:
        await api.delete(f"/api/v1/nodes/{name}", uid=uid)
    except KubeError as error:
        if error.code not in (HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT):  # gone, and one of that name is another's
            raise
