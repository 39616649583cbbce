"""The version that a Node of ours says its kubelet has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provider.node.shape import VERSION_MARK

if TYPE_CHECKING:
    from provider.kube.client import KubeApi


async def kubelet_version(api: KubeApi, own: str) -> str:
    """Return what a Node says of its kubelet: the API server's version, whose rules it keeps, and our own.

    `v1.37.2-zonelet-0.1.0`; what a vendor appended to the server's version (`-gke.1014001`, `+k3s1`) is left out.
    """
    found = str((await api.get("/version")).get("gitVersion") or "v0.0.0")
    return f"{found.partition('+')[0].partition('-')[0]}{VERSION_MARK}{own}"
