"""What the commands print when they are done: what to try next."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from provider.cluster.installation import Installation
    from provider.cluster.local_up import Running

__all__ = ["after_joining", "after_up"]


def after_up(installation: Installation, running: Running) -> str:
    """Return the commands to try against the local cluster."""
    kubectl, argo, name = running.binaries.kubectl, running.binaries.argo, _option(installation)
    examples = running.binaries.argo_module / "examples"
    kubeconfig = f"export KUBECONFIG={installation.local.kubeconfig}"
    return "\n".join(
        [
            f"{len(running.nodes)} virtual nodes are Ready. Try:",
            f"  {kubeconfig}",
            f"  alias kubectl={kubectl} argo={argo}",
            "  kubectl get nodes,pods -A -o wide",
            f"  argo submit --watch {examples}/dag-diamond.yaml",
            f"  argo submit --log {examples}/loops-maps.yaml",
            f"  {_zonelet()} status{name}",
            f"  {_zonelet()} down{name}      # removes all of it",
        ]
    )


def after_joining(installation: Installation, nodes: Sequence[str]) -> str:
    """Return what to know in a cluster that was joined; the nodes' serving certificates wait for an approval."""
    return "\n".join(
        [
            f"{len(nodes)} virtual nodes have joined: {', '.join(nodes)}.",
            "Their kubelet port answers when the cluster has approved their serving certificates, which none does by",
            "itself (kubectl logs and exec need it; pods run all the same). See them, compare, approve:",
            "  kubectl get csr --field-selector spec.signerName=kubernetes.io/kubelet-serving",
            "  kubectl certificate approve NAME",
            "The nodes have a taint; pods of a namespace get past it when it is labelled:",
            "  kubectl label namespace NAMESPACE zonelet.dev/virtual-nodes=enabled",
            f"  {_zonelet()} status{_option(installation)}",
            f"  {_zonelet()} down{_option(installation)}      # removes nodes, roles, containers and networks again",
        ]
    )


def _option(installation: Installation) -> str:
    return "" if installation.name == "zonelet" else f" --name {installation.name}"


def _zonelet() -> str:
    """Return how this shell calls the command: by name if it is on the PATH, else by the environment's own path."""
    beside = Path(sys.executable).parent / "zonelet"
    if shutil.which("zonelet") or not beside.exists():
        return "zonelet"
    here = Path.cwd()
    return str(beside.relative_to(here)) if beside.is_relative_to(here) else str(beside)
