"""The cluster of the comparison: a virtual node beside a stock one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from provider.cluster.stock_layout import STOCK_NODE, STOCK_TAINT
from tests.compatibility.campaign import taken
from tests.compatibility.run import Result, run_cases

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.compatibility.cases import Case
    from tests.compatibility.mutation import Mutation
    from tests.compatibility.verdicts import Verdict
    from tests.support.installation import Lab

TOLERATION = {"key": STOCK_TAINT, "operator": "Exists", "effect": "NoSchedule"}


async def compared(lab: Lab, cases: Sequence[Case]) -> list[Result]:
    """Run the cases on the lab's first virtual node and on its stock node."""
    async with lab.api() as api:
        return await run_cases(api, cases, STOCK_NODE, lab.running.nodes[0], TOLERATION)


async def campaign(lab: Lab, mutations: Sequence[Mutation]) -> tuple[dict[str, Verdict], dict[str, Verdict]]:
    """Run the mutations on the lab's stock and its first virtual node, at the same time; return both's verdicts."""
    async with lab.api() as api, asyncio.TaskGroup() as group:
        sides = [
            group.create_task(taken(api, mutations, node, namespace, [TOLERATION]))
            for node, namespace in ((STOCK_NODE, "on-stock"), (lab.running.nodes[0], "on-virtual"))
        ]
    stock, virtual = (side.result() for side in sides)
    return stock, virtual


async def versions(lab: Lab) -> tuple[str, str]:
    """Return the stock node's versions of kubelet and container runtime."""
    async with lab.api() as api:
        info = (await api.get(f"/api/v1/nodes/{STOCK_NODE}"))["status"]["nodeInfo"]
    return info["kubeletVersion"], info["containerRuntimeVersion"].replace("://", " ")
