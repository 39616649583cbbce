"""Starts the daemon `zonelet run` and waits until every zone's Node is Ready."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provider.cluster.build_command import tail
from provider.cluster.installation import python_module
from provider.cluster.steps import SetupError
from provider.kube.client import KubeError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from provider.cluster.installation import Installation
    from provider.kube.client import Json, KubeApi

__all__ = ["is_ready", "start_provider", "wait_for_nodes"]

_READY_SECONDS = 120.0
_LOOK_SECONDS = 0.3


def start_provider(installation: Installation) -> bool:
    """Start the daemon unless it runs; return whether it was started."""
    argv, environment = python_module("provider.cli.main", "run", "--config", str(installation.provider_config))
    environment["KUBECONFIG"] = str(installation.provider_kubeconfig)
    return installation.provider.start(argv, environment)


async def wait_for_nodes(
    installation: Installation, api: KubeApi, names: Sequence[str], report: Callable[[str], None]
) -> None:
    """Wait until all Nodes are Ready. SetupError with the daemon's last words when it ends, or time is up."""
    clock, process = installation.clock, installation.provider
    deadline = clock.now() + _READY_SECONDS
    told, missing = -1, "no Node is there"
    while clock.now() < deadline:
        if process.pid() is None:
            raise SetupError("the provider ended while starting", tail(process.log), f"read {process.log}")
        try:
            listed = await api.list("/api/v1/nodes")
        except KubeError as error:
            missing = f"the API server does not answer: {error}"
        else:
            nodes = {each["metadata"]["name"]: each for each in listed["items"]}
            waiting = [f"{name}: {_state(nodes.get(name))}" for name in names if not is_ready(nodes.get(name))]
            if not waiting:
                return
            missing = "; ".join(waiting)
            if told != len(waiting):
                told = len(waiting)
                report(f"{len(names) - told} of {len(names)} nodes are Ready")
        await clock.sleep(_LOOK_SECONDS)
    raise SetupError(
        f"the nodes are not Ready after {_READY_SECONDS:.0f} s",
        f"{missing}\n{tail(process.log)}",
        f"read {process.log}",
    )


def is_ready(node: Json | None) -> bool:
    """Say whether the Node is Ready."""
    return _state(node) == "Ready"


def _state(node: Json | None) -> str:
    if node is None:
        return "is not registered"
    for each in node.get("status", {}).get("conditions") or ():
        if each["type"] == "Ready":
            return (
                "Ready" if each["status"] == "True" else f"{each.get('reason', '')} {each.get('message', '')}".strip()
            )
    return "has no condition Ready"
