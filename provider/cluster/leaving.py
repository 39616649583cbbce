"""Leaves a cluster that was joined: takes out of it what joined.py and the provider have put there."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from provider.cluster.argo import render_tolerations
from provider.cluster.manifests import Manifests
from provider.cluster.provider_access import revoke_access
from provider.cluster.steps import SetupError
from provider.config.load import load, node_name
from provider.kube.client import HttpKubeApi, KubeError
from provider.kube.connection import KubeConfigError

if TYPE_CHECKING:
    from provider.cluster.installation import Installation, Record

__all__ = ["leave_cluster"]


async def leave_cluster(installation: Installation, record: Record) -> None:
    """Delete Nodes, role, account and toleration policy; SetupError when the cluster does not answer."""
    try:
        api = await HttpKubeApi.from_environment(record.kubeconfig or None, record.context)
        try:
            for name in _node_names(installation):
                await _delete(api, f"/api/v1/nodes/{name}")
            await revoke_access(api, installation.name)
            await Manifests(api).remove(render_tolerations("any"))
        finally:
            await api.close()
    except (KubeError, KubeConfigError) as error:
        raise SetupError(
            f"Nodes and roles of {installation.name} may be left in the cluster {record.server}",
            str(error),
            f"see whether `kubectl --context {record.context} get nodes` works, then run: zonelet down --name "
            f"{installation.name}",
        ) from error


def _node_names(installation: Installation) -> list[str]:
    if not installation.provider_config.exists():
        return []
    return [node_name(zone) for zone in load(installation.provider_config).zones]


async def _delete(api: HttpKubeApi, path: str) -> None:
    try:
        await api.delete(path)
    except KubeError as error:
        if error.code != HTTPStatus.NOT_FOUND:
            raise
