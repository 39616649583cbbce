"""Bad input: the valid pod with one field changed, on a virtual node, held to what the stock kubelet made of it.

The stock node's verdicts are recorded (`python -m tests.compatibility --mutations` writes them): phase, reason, message,
conditions, states of containers, events. A virtual node says the same, refuses the pod by the field's name, or differs
for a reason that is written down.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from tests.compatibility.campaign import taken
from tests.compatibility.mutation_report import VERDICTS, unexplained
from tests.compatibility.mutations import MUTATIONS
from tests.compatibility.verdicts import API

if TYPE_CHECKING:
    from tests.compatibility.mutation import Mutation
    from tests.compatibility.verdicts import Verdict
    from tests.support.installation import Lab

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]

STOCK: dict[str, Verdict] = json.loads(VERDICTS.read_text())["stock"]
TRIED = [each for each in MUTATIONS if API not in STOCK[each.name]]
"""What the API server refuses needs no node."""


@pytest.fixture(scope="module")
def verdicts(lab: Lab) -> dict[str, Verdict]:
    """What the first virtual node makes of all mutations, run once."""

    async def run() -> dict[str, Verdict]:
        async with lab.api() as api:
            return await taken(api, TRIED, lab.running.nodes[0], "mutations", [])

    return asyncio.run(run())


@pytest.mark.parametrize("mutation", TRIED, ids=lambda mutation: mutation.name)
def test_a_mutated_pod_gets_the_stock_kubelets_verdict(mutation: Mutation, verdicts: dict[str, Verdict]) -> None:
    assert unexplained(mutation, STOCK[mutation.name], verdicts[mutation.name]) == []
