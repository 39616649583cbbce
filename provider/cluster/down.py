"""`zonelet down`: removes all that `up` and the provider made, and nothing else.

It works on what it finds: half of it may be gone. What cannot be removed now (the engine is stopped, the cluster that
was joined does not answer) is told at the end, and the state directory stays, so that a second `down` does the rest.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from provider.cloud.runtime.docker_engine.block_claims import BlockClaims
from provider.cluster.build_cache import cache_root, exclusive
from provider.cluster.engine_removal import remove_from_engine
from provider.cluster.installation import Record
from provider.cluster.leaving import leave_cluster
from provider.cluster.steps import SetupError
from provider.cluster.stock_node import StockNode
from provider.cluster.stock_up import remove_stock

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from provider.cluster.installation import Installation
    from provider.cluster.steps import Steps

__all__ = ["dismantle", "take_down"]


async def take_down(installation: Installation, steps: Steps, *, forget_cluster: bool = False) -> None:
    """Remove the installation as `dismantle` does, after an `up` of it that is under way."""
    with exclusive(cache_root(), f"up-{installation.name}", steps.note):
        await dismantle(installation, steps, forget_cluster=forget_cluster)


async def dismantle(installation: Installation, steps: Steps, *, forget_cluster: bool = False) -> None:
    """Remove the installation, for one who holds its lock. With `forget_cluster` a cluster that it joined is not asked.

    SetupError when another provider serves that name (nothing is done then), and when a part of it could not be
    removed; a second call goes on from there.
    """
    await installation.require_unserved()
    record = installation.record() or Record("local")
    left: list[SetupError] = []
    with steps.step("stop the provider"):
        await installation.provider.stop(installation.clock)
        _require_ended(installation)
    if record.cluster == "current" and forget_cluster:
        steps.note(f"The cluster {record.server} is not asked: if it is there, Nodes and role of this name stay in it")
    elif record.cluster == "current":
        left += await _attempt(
            steps, f"leave the cluster of context {record.context}", partial(leave_cluster, installation, record)
        )
    else:
        if StockNode(installation).exists():
            left += await _attempt(steps, "remove the stock node", partial(remove_stock, installation))
        with steps.step("stop the control plane"):
            await installation.local.stop_processes()
    left += await _attempt(steps, "remove containers and networks", partial(remove_from_engine, installation))
    left += await _attempt(
        steps, f"remove the kube context {installation.context.name}", partial(_remove_context, installation)
    )
    if left:
        raise SetupError(
            "; ".join(each.what for each in left),
            "; ".join(each.why for each in left),
            "; ".join(dict.fromkeys(each.next_step for each in left)),
        )
    with steps.step(f"remove {installation.state}"):
        installation.local.remove_files()
        installation.remove_files()
        BlockClaims(installation.state).give_up()


async def _attempt(steps: Steps, title: str, act: Callable[[], Awaitable[None]]) -> list[SetupError]:
    """Run one part; what it could not remove comes back instead of keeping the other parts from being removed."""
    try:
        with steps.step(title):
            await act()
    except SetupError as error:
        return [error]
    return []


async def _remove_context(installation: Installation) -> None:
    installation.context.remove()


def _require_ended(installation: Installation) -> None:
    pid = installation.provider.pid()
    if pid is not None:
        raise SetupError(
            "the provider does not end", f"process {pid} outlives SIGKILL", "see why by ps, then run this again"
        )
