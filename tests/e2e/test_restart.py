"""The provider killed at any moment and started again: nothing runs twice, nothing is lost, nothing is left over.

The judge is the engine: its own events, written down from before the first pod to the last.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from random import Random  # noqa: TID251 - seeded, so that a run can be repeated
from typing import TYPE_CHECKING

import pytest

from provider.clock import SystemClock
from provider.cloud.runtime.docker_engine.client import open_client
from provider.cloud.runtime.docker_engine.naming import container_name
from provider.cluster.demo import WORKFLOWS, submit
from provider.cluster.manifests import wait_for
from provider.cluster.processes import wait_until
from provider.cluster.provider_daemon import start_provider
from tests.support.engine_events import recorded
from tests.support.footprint import footprint, same_as
from tests.support.installation import installed
from tests.support.names import own_name
from tests.support.pods import PODS, exec_in, is_running, main_state, phase_is, pod_gone, pod_that, restarts, shell_pod

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provider.kube.client import HttpKubeApi, Json
    from tests.support.engine_events import EngineEvents
    from tests.support.installation import Lab

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

CLOCK = SystemClock()
NAME = own_name("restart")
TASKS = 100
KILLS, SEED = 20, 20261124


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with installed(NAME) as up:
        yield up


async def kill_provider(lab: Lab) -> None:
    """SIGKILL, and wait until it has gone."""
    pid = lab.installation.provider.pid()
    assert pid is not None, "the provider does not run"
    os.kill(pid, signal.SIGKILL)
    assert await wait_until(CLOCK, lambda: lab.installation.provider.pid() is None, 10)


async def ended_tasks(api: HttpKubeApi, name: str, count: int, seconds: float) -> None:
    """Wait until that many of the workflow's pods have ended."""

    def enough(workflow: Json) -> bool:
        done, _, _all = (workflow.get("status") or {}).get("progress", "0/0").partition("/")
        return int(done) >= count

    await wait_for(api, f"{WORKFLOWS}/{name}", enough, clock=CLOCK, seconds=seconds)


async def all_succeeded_once(api: HttpKubeApi, name: str, events: EngineEvents, seconds: float) -> None:
    """Wait for the end of the workflow of TASKS tasks: Succeeded, each in one pod whose containers were started once."""
    done = await wait_for(
        api,
        f"{WORKFLOWS}/{name}",
        lambda one: (one.get("status") or {}).get("phase") in ("Succeeded", "Failed", "Error"),
        clock=CLOCK,
        seconds=seconds,
    )
    pods = (await api.list(PODS, {"labelSelector": f"workflows.argoproj.io/workflow={name}"}))["items"]
    assert done["status"]["phase"] == "Succeeded", done["status"].get("message")
    tasks = [node for node in done["status"]["nodes"].values() if node["type"] == "Pod"]
    assert [node["phase"] for node in tasks] == ["Succeeded"] * TASKS
    assert len(pods) == TASKS
    assert {pod["status"]["phase"] for pod in pods} == {"Succeeded"}

    uids = {pod["metadata"]["uid"] for pod in pods}
    assert len(events.count("start", uids=uids, container="main")) == TASKS
    events.none_twice(uids)


@pytest.mark.timeout(600)
async def test_every_task_runs_once_through_twenty_kills_at_random_moments(lab: Lab) -> None:
    random = Random(SEED)
    async with lab.api() as api, recorded(NAME) as events:
        before = await footprint(lab)
        name = submit(lab.installation, lab.running, Path(__file__).parent / "data" / "hundred-tasks.yaml", {})
        for ended in sorted(random.sample(range(1, TASKS - 2), KILLS)):
            await ended_tasks(api, name, ended, 300)
            await CLOCK.sleep(random.uniform(0, 1))
            await kill_provider(lab)
            start_provider(lab.installation)
        await all_succeeded_once(api, name, events, 300)
        await api.delete(f"{WORKFLOWS}/{name}")
        await same_as(lab, before, 120)


@pytest.mark.timeout(240)
async def test_what_happened_while_the_provider_was_dead_is_made_good_once_it_is_back(lab: Lab) -> None:
    keeps = "test -e /seen/it && exec sleep 1000; touch /seen/it; until test -e /go; do sleep 0.2; done; exit 1"
    seen = {"name": "seen", "emptyDir": {}}
    mount = {"volumeMounts": [{"name": "seen", "mountPath": "/seen"}]}
    made = [
        shell_pod("stays", "exec sleep 1000"),
        shell_pod("ends", "until test -e /go; do sleep 0.2; done; exit 7"),
        shell_pod("fails", keeps, restart="OnFailure", container=mount, volumes=[seen]),
        shell_pod("deleted", "exec sleep 1000"),
        shell_pod("erased", "exec sleep 1000"),
    ]
    async with lab.api() as api, recorded(NAME) as events:
        before = await footprint(lab)
        for pod in made:
            await api.create(PODS, pod)
        running = {pod["metadata"]["name"]: await pod_that(api, pod["metadata"]["name"], is_running) for pod in made}
        uids = {name: pod["metadata"]["uid"] for name, pod in running.items()}

        await kill_provider(lab)
        async with open_client() as client:
            for name in ("ends", "fails"):
                container = container_name(NAME, uids[name], "main", 0)
                await exec_in(client, container, "touch", "/go")
                await events.until("die", container, 20)
        await api.delete(f"{PODS}/deleted")
        await api.delete(f"{PODS}/erased", grace_seconds=0)
        await pod_gone(api, "erased")
        assert (await api.get(f"{PODS}/deleted"))["metadata"]["deletionTimestamp"]
        await api.create(PODS, shell_pod("new", "exec sleep 1000"))
        start_provider(lab.installation)

        ended = await pod_that(api, "ends", phase_is("Failed"))
        assert main_state(ended)["terminated"]["exitCode"] == 7
        again = await pod_that(api, "fails", lambda pod: is_running(pod) and restarts(pod) == 1)
        assert again["status"]["containerStatuses"][0]["lastState"]["terminated"]["exitCode"] == 1
        new = await pod_that(api, "new", is_running)
        await pod_gone(api, "deleted")
        stayed = await api.get(f"{PODS}/stays")
        assert main_state(stayed) == main_state(running["stays"])
        assert restarts(stayed) == 0
        events.none_twice({*uids.values(), new["metadata"]["uid"]})

        for name in ("stays", "ends", "fails", "new"):
            await api.delete(f"{PODS}/{name}")
        await same_as(lab, before, 60)
