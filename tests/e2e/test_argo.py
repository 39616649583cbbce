"""What a person does to a running workflow with upstream's `argo`: follow its logs, stop, terminate, retry it."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any

import yaml

from tests.support.argo import WORKFLOWS, ended, finished, node_running
from tests.support.pods import PODS

if TYPE_CHECKING:
    from provider.kube.client import HttpKubeApi, Json
    from tests.support.argo import Terminal
    from tests.support.installation import Lab

SECONDS = 120.0
WORKS = "trap 'echo told to end; exit 3' TERM; echo at work; while :; do sleep 0.1; done"


def workflow(name: str, script: str, **spec: Any) -> bytes:
    """A workflow of one pod, and an exit handler that says goodbye."""
    templates = [
        {"name": name, "container": {"image": "busybox:1.36", "command": ["sh", "-c", script]}}
        for name, script in (("main", script), ("goodbye", "echo goodbye"))
    ]
    return yaml.safe_dump({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "metadata": {"generateName": f"{name}-"},
        "spec": {"entrypoint": "main", "onExit": "goodbye", "templates": templates, **spec},
    }).encode()  # fmt: skip


async def submitted(terminal: Terminal, body: bytes) -> str:
    done = await terminal.run("argo", "submit", "-o", "name", "-", stdin=body)
    return done.text.rpartition("/")[2]


async def at_work(terminal: Terminal, api: HttpKubeApi, name: str) -> None:
    """Wait until the pod has set its trap: it says so."""
    await node_running(api, terminal, name, name)
    following = await terminal.start("argo", "logs", "--follow", "--no-color", name)
    try:
        assert following.stdout
        async with asyncio.timeout(60):
            while (line := await following.stdout.readline()) and not line.endswith(b"at work\n"):
                pass
        assert line == f"{name}: at work\n".encode()
    finally:
        await ended(following)


def phases(found: Json) -> dict[str, tuple[str, str]]:
    return {each["displayName"]: (each["phase"], each.get("message", "")) for each in found["status"]["nodes"].values()}


async def test_stop_signals_the_pod_and_runs_the_exit_handler(terminal: Terminal, api: HttpKubeApi, lab: Lab) -> None:
    name = await submitted(terminal, workflow("stopped", WORKS))
    await at_work(terminal, api, name)
    await terminal.argo("stop", name)
    found = await finished(api, lab, name, SECONDS)
    assert (found["status"]["phase"], found["status"]["message"]) == ("Failed", "Stopped with strategy 'Stop'")
    assert phases(found)[f"{name}.onExit"][0] == "Succeeded"
    assert phases(found)[name][0] == "Failed"
    logs = (await terminal.argo("logs", "--no-color", name)).text
    assert f"{name}: told to end" in logs
    assert "goodbye" in logs
    await api.delete(f"{WORKFLOWS}/{name}")


async def test_terminate_ends_the_pod_and_runs_nothing_more(terminal: Terminal, api: HttpKubeApi, lab: Lab) -> None:
    name = await submitted(terminal, workflow("terminated", WORKS))
    await at_work(terminal, api, name)
    await terminal.argo("terminate", name)
    found = await finished(api, lab, name, SECONDS)
    assert (found["status"]["phase"], found["status"]["message"]) == ("Failed", "Stopped with strategy 'Terminate'")
    assert list(phases(found)) == [name]
    await api.delete(f"{WORKFLOWS}/{name}")


async def test_retry_runs_what_failed_again(terminal: Terminal, api: HttpKubeApi, lab: Lab) -> None:
    parameters = {"parameters": [{"name": "good", "value": "no"}]}
    name = await submitted(
        terminal, workflow("retried", "test {{workflow.parameters.good}} = yes", arguments=parameters)
    )
    assert (await finished(api, lab, name, SECONDS))["status"]["phase"] == "Failed"
    await terminal.argo("retry", name, "-p", "good=yes")
    assert (await finished(api, lab, name, SECONDS))["status"]["phase"] == "Succeeded"
    await api.delete(f"{WORKFLOWS}/{name}")


async def test_logs_are_followed_to_the_end_of_the_workflow(terminal: Terminal, api: HttpKubeApi) -> None:
    name = await submitted(terminal, workflow("followed", "for i in 1 2 3; do echo line $i; sleep 1; done"))
    done = await terminal.argo("logs", "--follow", "--no-color", name)
    assert [each.partition(": ")[2] for each in done.text.splitlines() if ": line" in each] == [
        "line 1",
        "line 2",
        "line 3",
    ]
    await api.delete(f"{WORKFLOWS}/{name}")


async def test_a_workflows_pods_spread_over_the_zones(terminal: Terminal, api: HttpKubeApi, lab: Lab) -> None:
    """They ask for nothing, so that all nodes score alike; what spreads them is the local cluster's policy."""
    fan_out = {
        "entrypoint": "all",
        "templates": [
            {"name": "all", "steps": [[{"name": "each", "template": "one", "withSequence": {"count": "9"}}]]},
            {"name": "one", "container": {"image": "busybox:1.36", "command": ["true"]}},
        ],
    }
    body = {
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "metadata": {"generateName": "spread-"},
        "spec": fan_out,
    }  # fmt: skip
    name = await submitted(terminal, yaml.safe_dump(body).encode())
    assert (await finished(api, lab, name, SECONDS))["status"]["phase"] == "Succeeded"
    pods = (await api.list(PODS, {"labelSelector": f"workflows.argoproj.io/workflow={name}"}))["items"]
    nodes = Counter(each["spec"]["nodeName"] for each in pods)
    assert nodes == dict.fromkeys(lab.running.nodes, 3), nodes
    await api.delete(f"{WORKFLOWS}/{name}")
