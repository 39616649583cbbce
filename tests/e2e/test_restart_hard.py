"""Everything that the provider stands on goes away under a workflow: no task runs twice, and the workflow Succeeds.

Promised, with stock Argo and Kubernetes, for a workflow of a hundred tasks without any retries:

- the provider is killed, at any moment: its pods go on, and the next provider takes them over;
- dockerd is stopped, or killed, and started again, with `live-restore`: its containers go on. Without that option an
  engine takes its containers along; such pods end as on any node whose machine lost its containers (the integration
  tests of the Docker runtime have that: test_engine_away.py). A container that dockerd was starting as it ended is
  started by the next one if its program had not begun, else it has failed (test_half_started.py); so no task begins
  here while dockerd goes;
- the API server is away for a minute: pods go on, and end, and are reported when it is back. Its watches of before
  answer 410 then: everything is listed anew, and nothing is done twice;
- both are away at once.

Not promised, for it is not the node's: a task of Argo that begins or ends in a time when the API server refuses
connections for more than about half a minute. Argo's executor gives up then (docs/guides/restarts.md), on any node;
so the tasks here that meet that minute wait in it.

The judges: the tasks themselves, who write down on the host that they began and ended; the engine's own events; and
what engine and host have at the end, compared with before. The engine is one of the test's own.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from provider.clock import SystemClock
from provider.cluster.demo import WORKFLOWS, submit
from provider.cluster.local_up import up_local
from provider.cluster.manifests import wait_for
from provider.cluster.processes import Process, wait_until
from provider.cluster.provider_daemon import start_provider, wait_for_nodes
from provider.cluster.steps import Steps
from tests.support.engine_events import recorded
from tests.support.footprint import footprint, same_as
from tests.support.installation import installed
from tests.support.names import own_name
from tests.support.own_engine import OwnEngine, own_engine
from tests.support.pods import PODS, is_running, main_state, phase_is, pod_that, restarts, shell_pod
from tests.support.provider_log import Line, ProviderLog

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provider.kube.client import HttpKubeApi, Json
    from tests.support.installation import Lab

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

CLOCK = SystemClock()
NAME = own_name("hard")
TASKS, HELD = 100, range(60, 70)
AWAY_SECONDS = 60
RESULTS = "/apis/argoproj.io/v1alpha1/namespaces/default/workflowtaskresults"
ARGOS_PODS = "/api/v1/namespaces/argo/pods"
ALL_PODS = "/api/v1/pods"
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
DATA = Path(__file__).parent / "data"


@pytest.fixture(scope="module")
def engine() -> Iterator[OwnEngine]:
    """An engine with live-restore, which everything in this module finds and whose network it is in."""
    with asyncio.Runner() as runner, pytest.MonkeyPatch.context() as environment:
        context = own_engine(live_restore=True, images=())
        made = runner.run(context.__aenter__())
        try:
            environment.setenv("DOCKER_HOST", made.address)
            with made.entered():
                yield made
        finally:
            runner.run(context.__aexit__(None, None, None))


@pytest.fixture(scope="module")
def record() -> Iterator[Path]:
    """Where tasks write down what they do."""
    directory = Path(tempfile.mkdtemp(prefix="zl-record-", dir="/tmp"))
    yield directory
    shutil.rmtree(directory)


@pytest.fixture(scope="module")
def lab(engine: OwnEngine, record: Path) -> Iterator[Lab]:
    assert engine.runs
    with installed(NAME, config={"name": NAME, "pods": {"hostPath": {"allowedPaths": [str(record)]}}}) as up:
        yield up


def written(file: Path) -> list[int]:
    """What tasks have written there, in order."""
    return sorted(int(line) for line in file.read_text().splitlines()) if file.exists() else []


async def many(file: Path, count: int, seconds: float = 180) -> None:
    """Wait until that many tasks have written there."""
    assert await wait_until(CLOCK, lambda: len(written(file)) >= count, seconds), written(file)


def kill_provider(lab: Lab) -> None:
    pid = lab.installation.provider.pid()
    assert pid is not None, "the provider does not run"
    os.kill(pid, signal.SIGKILL)


async def provider_again(lab: Lab) -> None:
    assert await wait_until(CLOCK, lambda: lab.installation.provider.pid() is None, 10)
    start_provider(lab.installation)


async def held_tasks_wait(api: HttpKubeApi, workflow: str, record: Path) -> None:
    """Wait until all held tasks run, and their executors have nothing to tell the API server until they end."""
    await many(record / "begun", HELD.stop)
    deadline = CLOCK.now() + 60
    while True:
        of_workflow = {"labelSelector": f"workflows.argoproj.io/workflow={workflow}"}
        results = (await api.list(RESULTS, of_workflow))["items"]
        told = [each["metadata"]["labels"]["workflows.argoproj.io/report-outputs-completed"] for each in results]
        phases = [pod["status"]["phase"] for pod in (await api.list(PODS, of_workflow))["items"]]
        if told.count("false") == len(HELD) and phases.count("Succeeded") == HELD.start:
            return
        assert CLOCK.now() < deadline, (told, phases)
        await CLOCK.sleep(0.3)


def expired(lab: Lab, lines: list[Line]) -> bool:
    """Whether the watch of every node's pods has been refused as too old (410), and has begun anew."""
    told = {line["fieldSelector"] for line in lines if line["event"] == "watch.expired" and line["path"] == ALL_PODS}
    return told == {f"spec.nodeName={node}" for node in lab.running.nodes}


async def succeeded(api: HttpKubeApi, name: str, seconds: float) -> None:
    """Wait for the workflow's end: Succeeded, and every task in one pod."""
    workflow = f"{WORKFLOWS}/{name}"
    done = await wait_for(api, workflow, is_over, clock=CLOCK, seconds=seconds)
    assert done["status"]["phase"] == "Succeeded", done["status"].get("message")
    pods = (await api.list(PODS, {"labelSelector": f"workflows.argoproj.io/workflow={name}"}))["items"]
    assert [pod["status"]["phase"] for pod in pods] == ["Succeeded"] * TASKS


def is_over(workflow: Json) -> bool:
    return (workflow.get("status") or {}).get("phase") in ("Succeeded", "Failed", "Error")


@pytest.mark.timeout(900)  # an engine of its own is filled with images first
async def test_every_task_runs_once_whatever_goes_away(
    lab: Lab, engine: OwnEngine, record: Path, tmp_path: Path
) -> None:
    file = tmp_path / "hundred.yaml"
    file.write_text((DATA / "hundred-recorded-tasks.yaml").read_text().replace("{record}", str(record)))
    volumes = [{"name": "record", "hostPath": {"path": str(record)}}]
    mount = {"volumeMounts": [{"name": "record", "mountPath": "/record"}]}
    ends = "echo begun >> /record/ends; until test -e /record/end; do sleep 0.2; done; exit 3"
    async with lab.api() as api, recorded(NAME, through_restarts=True) as events:
        before = await footprint(lab)
        argos = [pod["metadata"]["uid"] for pod in (await api.list(ARGOS_PODS))["items"]]
        name = submit(lab.installation, lab.running, file, {})

        for count in (4, 20, 40):  # early: most pods wait for their turn
            await many(record / "ended", count)
            kill_provider(lab)
            await provider_again(lab)
        await api.create(PODS, shell_pod("ends", ends, container=mount, volumes=volumes))
        await api.create(PODS, shell_pod("stays", "exec sleep 1000"))
        running = {each: await pod_that(api, each, is_running, 120) for each in ("ends", "stays")}
        await held_tasks_wait(api, name, record)
        kill_provider(lab)
        await engine.end(signal.SIGKILL)
        await provider_again(lab)
        await engine.start()
        await wait_for_nodes(lab.installation, api, lab.running.nodes, print)

        log = ProviderLog.of(lab)
        await api.create(CONFIG_MAPS, {"metadata": {"name": "later-than-any-watch"}})
        server = Process("kube-apiserver", lab.installation.state / "run")
        await server.stop(CLOCK, grace=0)  # asked politely it would wait for its watches
        away = CLOCK.now()
        await engine.end()
        (record / "end").touch()
        await CLOCK.sleep(2)
        await engine.start()
        await CLOCK.sleep(away + AWAY_SECONDS - CLOCK.now())
        await up_local(lab.installation, Steps(), config=lab.installation.provider_config, argo=False)
        ended = await pod_that(api, "ends", phase_is("Failed"))
        assert main_state(ended)["terminated"]["exitCode"] == 3
        stayed = await api.get(f"{PODS}/stays")
        assert main_state(stayed) == main_state(running["stays"])
        assert restarts(stayed) == 0
        await log.until(partial(expired, lab), 60)
        assert written(record / "begun") == list(range(HELD.stop)), "nothing has begun again"

        (record / "go").touch()
        await succeeded(api, name, 240)
        assert written(record / "begun") == list(range(TASKS))
        assert written(record / "ended") == list(range(TASKS))
        assert (record / "ends").read_text() == "begun\n"
        events.none_twice({pod["metadata"]["uid"] for pod in (await api.list(PODS))["items"]})

        await api.delete(f"{CONFIG_MAPS}/later-than-any-watch")
        for pod in ("ends", "stays"):
            await api.delete(f"{PODS}/{pod}")
        await api.delete(f"{WORKFLOWS}/{name}")
        # Argo's own pods stay; its controller ends itself when it cannot renew its lease, and is restarted
        await same_as(lab, before, 120, apart_from=argos)
