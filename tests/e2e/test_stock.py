"""Stock that runs out under stock Argo, with profile `eci`: the next zone, all zones out, and a refill."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from provider.cluster.manifests import wait_for
from provider.model.ids import ZoneId
from provider.model.stock import StockChange
from tests.support.argo import Terminal, finished, pods_of_workflow, story
from tests.support.installation import installed
from tests.support.names import own_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provider.kube.client import Json
    from tests.support.installation import Lab

ZONES = ("zone-a", "zone-b", "zone-c")
EXAMPLE = "steps.yaml"


@pytest.fixture(scope="module")
def eci() -> Iterator[Lab]:
    with installed(own_name("stock"), config={"profile": "eci"}) as lab:
        yield lab


async def shut(lab: Lab, *names: str) -> None:
    """Let these zones sell nothing, and all others sell."""
    async with lab.cloud() as cloud:
        for name in ZONES:
            await cloud.set_stock(StockChange(zone=ZoneId(name), closed=name in names))


@pytest.mark.slow
async def test_a_workflow_goes_to_the_next_zone_waits_when_all_are_out_and_goes_on_after_a_refill(eci: Lab) -> None:
    terminal = Terminal(eci)
    async with eci.api() as api:
        await shut(eci, "zone-a", "zone-c")
        name = await terminal.submit(EXAMPLE)
        found = await finished(api, eci, name, 90)
        assert found["status"]["phase"] == "Succeeded", await story(api, eci, name)
        assert {pod["spec"]["nodeName"] for pod in await pods_of_workflow(api, name)} == {"virtual-kubelet-zone-b"}

        await shut(eci, *ZONES)
        name = await terminal.submit(EXAMPLE)

        def told(workflow: Json) -> bool:
            nodes = (workflow.get("status") or {}).get("nodes") or {}
            return any("OperationDenied.NoStock" in str(node.get("message")) for node in nodes.values())

        path = f"/apis/argoproj.io/v1alpha1/namespaces/default/workflows/{name}"
        await wait_for(api, path, told, clock=eci.installation.clock, seconds=30)
        assert "OperationDenied.NoStock" in (await terminal.argo("get", name)).text

        waiting = {pod["spec"]["nodeName"] for pod in await pods_of_workflow(api, name)}
        refilled = next(zone for zone in ZONES if f"virtual-kubelet-{zone}" not in waiting)
        await shut(eci, *(zone for zone in ZONES if zone != refilled))
        found = await finished(api, eci, name, 90)
        assert found["status"]["phase"] == "Succeeded", await story(api, eci, name)
        pods = await pods_of_workflow(api, name)
        assert {pod["spec"]["nodeName"] for pod in pods} == {f"virtual-kubelet-{refilled}"}
