"""What a workflow of stock Argo costs, with profile `eci`: by template, retries as waste, a daemon step as none."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing
from typing import TYPE_CHECKING

import pytest

from provider.cli.cost import By, cost_rows
from provider.model.bill import Outcome, totals
from tests.support.argo import Terminal, finished, story
from tests.support.installation import installed
from tests.support.names import own_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provider.model.bill import UsageRecord
    from tests.support.installation import Lab

NAME = "priced"


def step(template: str) -> dict[str, str]:
    return {"name": template, "template": template}


def shell(name: str, script: str, **more: object) -> dict[str, object]:
    return {"name": name, "container": {"image": "busybox", "command": ["sh", "-c", script]}, **more}


WORKFLOW = {
    "apiVersion": "argoproj.io/v1alpha1",
    "kind": "Workflow",
    "metadata": {"name": NAME},
    "spec": {
        "entrypoint": "main",
        "templates": [
            {"name": "main", "steps": [[step("serve")], [step("work"), step("shaky")]]},
            shell("serve", "sleep 600", daemon=True),
            shell("work", "sleep 2"),
            shell("shaky", "test {{retries}} -gt 0", retryStrategy={"limit": "2"}),
        ],
    },
}


@pytest.fixture(scope="module")
def eci() -> Iterator[Lab]:
    with installed(own_name("cost"), config={"profile": "eci"}) as lab:
        yield lab


async def bill(lab: Lab, attempts: int) -> list[UsageRecord]:
    """The ledger once so many attempts have ended."""
    async with asyncio.timeout(60), lab.cloud() as cloud, aclosing(cloud.watch()) as changes:
        async for _ in changes:
            records = await cloud.describe_usage_records()
            mine = [one for one in records if one.tag("workflow") == NAME and one.outcome is not Outcome.RUNNING]
            if len(mine) == attempts:
                return mine
    raise AssertionError("the watch ended")


@pytest.mark.slow
async def test_a_workflow_is_billed_by_template_and_retries_are_waste(eci: Lab) -> None:
    await Terminal(eci).run("kubectl", "create", "-f", "-", stdin=json.dumps(WORKFLOW).encode())
    async with eci.api() as api:
        found = await finished(api, eci, NAME, 120)
        assert found["status"]["phase"] == "Succeeded", await story(api, eci, NAME)
    records = await bill(eci, 4)
    ends = sorted((one.tag("template"), one.outcome.value) for one in records)
    assert [end for end in ends if end[0] != "serve"] == [
        ("shaky", "failed"),
        ("shaky", "succeeded"),
        ("work", "succeeded"),
    ]
    (serve,) = [one for one in records if one.tag("template") == "serve"]
    assert serve.outcome in (Outcome.ENDED, Outcome.SUCCEEDED)
    # Argo asks for a little for its own containers, so that the default size does not come in.
    assert {(one.cpu, one.memory, one.price, one.currency) for one in records} == {(250, 1 << 29, 55_134, "CNY")}
    assert {one.tag("owner-kind") for one in records} == {"Workflow"}
    ((head, total),) = cost_rows(records, By.WORKFLOW)
    assert head == {"workflow": f"default/{NAME}", "currency": "CNY"}
    assert total.spent == 55_134 * sum(one.seconds for one in records) > 0
    by_outcome = totals(records, lambda one: one.outcome)
    assert total.wasted == by_outcome[Outcome.FAILED].spent > 0
    assert total.wasted_stopped == total.saved == 0
