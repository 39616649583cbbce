"""Starts the daemon `zonelet run` and waits until every zone's Node is Ready."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provider.cluster.build_command import tail
from provider.cluster.processes import python_module
from provider.cluster.steps import SetupError
from provider.kube.client import KubeError
from provider.model.timestamps import EPOCH, seconds_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from provider.cluster.installation import Installation
    from provider.kube.client import Json, KubeApi

__all__ = ["is_ready", "provider_command", "start_provider", "wait_for_nodes"]

_READY_SECONDS = 120.0
_LOOK_SECONDS = 0.3


def provider_command(installation: Installation) -> tuple[list[str], dict[str, str]]:
    """Return argv and environment of the daemon."""
    argv, environment = python_module("provider.cli.main", "run", "--config", str(installation.provider_config))
    environment["KUBECONFIG"] = str(installation.provider_kubeconfig)
    return argv, environment


def start_provider(installation: Installation) -> bool:
    """Start the daemon unless it runs; return whether it was started."""
    return installation.provider.start(*provider_command(installation))


async def wait_for_nodes(
    installation: Installation, api: KubeApi, names: Sequence[str], report: Callable[[str], None]
) -> None:
    """Wait until the daemon has reported all Nodes Ready. SetupError with its last words when it ends, or time is up.

    A Node stays Ready for about 40 s after its provider was killed: what was reported before this one began is nothing.
    """
    clock, process = installation.clock, installation.provider
    deadline = clock.now() + _READY_SECONDS
    told, missing = -1, "no Node is there"
    while clock.now() < deadline:
        started = process.started()
        if started is None:
            raise SetupError("the provider ended while starting", tail(process.log), f"read {process.log}")
        try:
            listed = await api.list("/api/v1/nodes")
        except KubeError as error:
            missing = f"the API server does not answer: {error}"
        else:
            nodes = {each["metadata"]["name"]: each for each in listed["items"]}
            states = {name: _state(nodes.get(name), started) for name in names}
            waiting = [f"{name}: {state}" for name, state in states.items() if state != "Ready"]
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
    return _state(node, 0.0) == "Ready"


def _state(node: Json | None, since: float) -> str:
    """Return `Ready` when that was reported at or after the second of `since`, else what is known instead."""
    if node is None:
        return "is not registered"
    for each in node.get("status", {}).get("conditions") or ():
        if each["type"] == "Ready":
            if each["status"] != "True":
                return f"{each.get('reason', '')} {each.get('message', '')}".strip()
            if seconds_of(each.get("lastHeartbeatTime") or EPOCH) < int(since):
                return "has not been reported by this provider yet"
            return "Ready"
    return "has no condition Ready"
