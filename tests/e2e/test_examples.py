"""Upstream's example workflows, byte for byte, each to the phase that it has to end in.

All of them run at the same time, a bounded number in flight, before the first test judges: the tests only look.
"""

from __future__ import annotations

import asyncio
import fnmatch
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

import pytest

from provider.kube.client import KubeError
from tests.e2e.examples import EXAMPLES, Example, Outcome
from tests.e2e.left_out import LEFT_OUT
from tests.support.argo import FINISHED, WORKFLOWS, CommandError, finished, story
from tests.support.engine import instances_on_engine

if TYPE_CHECKING:
    from provider.kube.client import KubeApi
    from tests.support.argo import Terminal
    from tests.support.installation import Lab

pytestmark = pytest.mark.timeout(1200)

IN_FLIGHT = 12
SECONDS = 300.0
NEEDED = (
    "configmaps/simple-parameters-configmap.yaml",
    "workflow-template/templates.yaml",
    "cluster-workflow-template/clustertemplates.yaml",
)
"""What upstream's text says to create before some of them; the commands below are in comments of the files."""
SECRET = ("secret", "generic", "my-secret", "--from-literal=mypassword=S00perS3cretPa55word")
LOCKS = ("configmap", "my-config", "--from-literal=template=3", "--from-literal=workflow=3")


@dataclass(frozen=True)
class _Run:
    """Runs examples of one session."""

    lab: Lab
    terminal: Terminal
    api: KubeApi
    gate: asyncio.Semaphore
    outcomes: dict[str, Outcome]

    async def one(self, example: Example) -> None:
        async with self.gate:
            name = ""
            try:
                if example.start is None:
                    name = await self.terminal.submit(example.file)
                else:
                    name = await example.start(self.terminal, self.api, example.file)
                if example.meanwhile is not None:
                    async with asyncio.timeout(SECONDS):
                        await example.meanwhile(self.terminal, self.api, name)
                workflow = await finished(self.api, self.lab, name, SECONDS)
                logs = (await self.terminal.argo("logs", "--no-color", name)).out.decode() if example.says else ""
                outcome = Outcome(name, workflow, logs)
                if example.phase not in (None, workflow["status"]["phase"]):
                    outcome.told = await story(self.api, self.lab, name)
            except (CommandError, TimeoutError) as error:
                told = await story(self.api, self.lab, name)
                outcome = Outcome(name, {"status": {}}, told=f"{type(error).__name__} {error}\n{told}")
        self.outcomes[example.file] = outcome


@pytest.fixture(scope="module")
def outcomes(lab: Lab, terminal: Terminal, request: pytest.FixtureRequest) -> dict[str, Outcome]:
    """Run the examples that this session's tests are about."""
    chosen = [
        item.callspec.params["example"]
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.module is request.module and hasattr(item, "callspec")
    ]

    async def run() -> dict[str, Outcome]:
        found: dict[str, Outcome] = {}
        for file in NEEDED:
            await terminal.kubectl("apply", "-f", str(terminal.examples / file))
        for created in (SECRET, LOCKS):
            await terminal.kubectl("create", *created)
        async with lab.api() as api:
            every = _Run(lab, terminal, api, asyncio.Semaphore(IN_FLIGHT), found)
            for alone in (False, True):
                async with asyncio.TaskGroup() as group:
                    for example in chosen:
                        if example.alone is alone:
                            group.create_task(every.one(example))
        return found

    return asyncio.run(run())


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.file)
def test_an_example_ends_as_it_has_to(example: Example, outcomes: dict[str, Outcome]) -> None:
    outcome = outcomes[example.file]
    status = outcome.workflow["status"]
    assert status.get("phase") in FINISHED if example.phase is None else status.get("phase") == example.phase, (
        outcome.told
    )
    for pattern in example.says:
        assert fnmatch.filter(outcome.lines, pattern), (pattern, outcome.lines)
    for name, phase in example.nodes.items():
        assert outcome.phases(name) == [phase]
    if example.pods is not None:
        assert len(outcome.pods) == example.pods
    if example.check is not None:
        example.check(outcome)
    assert all(
        each.get("hostNodeName", "").startswith("virtual-kubelet-")
        for each in outcome.pods
        if each["phase"] == "Succeeded"
    )


async def test_nothing_of_a_deleted_workflow_is_left(lab: Lab, api: KubeApi, outcomes: dict[str, Outcome]) -> None:
    for each in (await api.list(WORKFLOWS))["items"]:  # those that workflows made too
        try:
            await api.delete(f"{WORKFLOWS}/{each['metadata']['name']}")
        except KubeError as error:
            if error.code != HTTPStatus.NOT_FOUND:  # its owner was deleted before it
                raise

    argos_own = 2

    async def left() -> bool:
        pods = {each["metadata"]["uid"] for each in (await api.list("/api/v1/pods"))["items"]}
        directories = {each.name for each in (lab.installation.state / "instances").iterdir()}
        return len(pods) > argos_own or pods != instances_on_engine(lab) or pods != directories

    async with asyncio.timeout(180):
        while await left():
            await lab.installation.clock.sleep(0.5)


def test_every_example_of_upstream_is_run_or_left_out_for_a_reason(terminal: Terminal) -> None:
    files = {str(path.relative_to(terminal.examples)) for path in terminal.examples.rglob("*.yaml")}
    run = {each.file for each in EXAMPLES}
    assert run & LEFT_OUT.keys() == set()
    assert run | LEFT_OUT.keys() == files
