"""`make demo`: brings the system up, runs one of upstream's own fan-out workflows, and shows where its pods ran.

The system stays up. When the demo fails, what this call made is undone: an installation that it brought up is taken
down again, of one that was there before only the workflow goes.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING

from provider.clock import SystemClock
from provider.cluster.build_command import BuildError, capture
from provider.cluster.down import take_down
from provider.cluster.installation import Installation
from provider.cluster.kube_context import user_kubeconfig
from provider.cluster.local_up import up_local
from provider.cluster.manifests import wait_for
from provider.cluster.next_steps import after_up
from provider.cluster.steps import SetupError, Steps
from provider.cluster.termination import run_undoable
from provider.cluster.trouble import pods_of
from provider.cluster.undo import try_to_undo, undoing
from provider.kube.client import HttpKubeApi, KubeError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from provider.cluster.local_up import Running
    from provider.kube.client import Json, KubeApi

__all__ = ["pods_by_zone", "run_demo", "run_workflow", "submit", "wait_for_workflow"]

EXAMPLE = "loops-sequence.yaml"
"""25 pods at once: a step with five loops of upstream's withSequence."""

NAMESPACE = "default"
WORKFLOWS = f"/apis/argoproj.io/v1alpha1/namespaces/{NAMESPACE}/workflows"
_LABEL = "zonelet.dev/demo"
_WORKFLOW_SECONDS = 300.0
_COMMAND_SECONDS = 60.0
_FINISHED = ("Succeeded", "Failed", "Error")


async def run_demo(installation: Installation, steps: Steps, *, target: Path | None) -> str:
    """Run the demo; return what is to be shown at its end. SetupError when a step fails."""
    fresh = installation.record() is None
    running = await up_local(installation, steps, user_kubeconfig=target)
    undone = undoing(installation, steps, partial(take_down, installation, steps)) if fresh else nullcontext()
    async with undone:
        shown = await _run_example(installation, running, steps)
    return f"{shown}\n\n{after_up(installation, running)}"


async def _run_example(installation: Installation, running: Running, steps: Steps) -> str:
    api = await HttpKubeApi.from_kubeconfig(str(installation.local.kubeconfig))
    try:
        with steps.step(f"run upstream's example {EXAMPLE}, 25 pods at once") as report:
            name = await run_workflow(installation, running, api, steps, report)
        pods = await api.list(
            f"/api/v1/namespaces/{NAMESPACE}/pods", {"labelSelector": f"workflows.argoproj.io/workflow={name}"}
        )
        nodes = await api.list("/api/v1/nodes")
        listing = capture(
            [
                str(running.binaries.kubectl),
                f"--kubeconfig={installation.local.kubeconfig}",
                "get",
                "nodes,pods",
                "-A",
                "-o",
                "wide",
            ],
            what="kubectl get nodes,pods",
            timeout=_COMMAND_SECONDS,
            next_step="run it by hand",
        )
    finally:
        await api.close()
    zones = ", ".join(f"{count} in {zone}" for zone, count in pods_by_zone(pods["items"], nodes["items"]).items())
    return f"$ kubectl get nodes,pods -A -o wide\n{listing}\n{name}: its {len(pods['items'])} pods ran {zones}."


async def run_workflow(
    installation: Installation, running: Running, api: KubeApi, steps: Steps, report: Callable[[str], None]
) -> str:
    """Run the example to its end, and return the workflow's name. SetupError when it fails; it is removed then."""
    await _remove_earlier(api)
    file = running.binaries.argo_module / "examples" / EXAMPLE
    started = installation.clock.now()
    name = submit(installation, running, file, {_LABEL: "true"})
    try:
        await wait_for_workflow(installation, api, name, report)
    except BaseException:
        await try_to_undo(installation, steps, partial(api.delete, f"{WORKFLOWS}/{name}"))
        raise
    report(f"{name} Succeeded after {installation.clock.now() - started:.0f} s")
    return name


def submit(installation: Installation, running: Running, file: Path, labels: dict[str, str]) -> str:
    """Submit a workflow file as it is with upstream's own command; return the workflow's name."""
    marks = ",".join(f"{key}={value}" for key, value in labels.items())
    answer = capture(
        [str(running.binaries.argo), "submit", "-n", NAMESPACE, "--labels", marks, "-o", "name", str(file)],
        what=f"argo submit {file.name}",
        timeout=_COMMAND_SECONDS,
        next_step="see: zonelet status",
        env={**os.environ, "KUBECONFIG": str(installation.local.kubeconfig)},
    )
    return answer.strip().rpartition("/")[2]


async def wait_for_workflow(installation: Installation, api: KubeApi, name: str, report: Callable[[str], None]) -> None:
    """Wait until the workflow has Succeeded; SetupError with its pods and their events when it ends otherwise."""
    told = ""

    def ended(workflow: Json) -> bool:
        nonlocal told
        status = workflow.get("status") or {}
        if status.get("progress", "") not in ("", told):
            told = status["progress"]
            report(f"{told} pods have ended")
        return status.get("phase") in _FINISHED

    try:
        found = await wait_for(api, f"{WORKFLOWS}/{name}", ended, clock=installation.clock, seconds=_WORKFLOW_SECONDS)
        phase, message = found["status"]["phase"], found["status"].get("message", "")
    except TimeoutError:
        phase, message = "unfinished", f"after {_WORKFLOW_SECONDS:.0f} s"
    if phase != "Succeeded":
        raise SetupError(
            f"the workflow {name} is {phase} {message}".strip(),
            await pods_of(api, NAMESPACE, f"workflows.argoproj.io/workflow={name}"),
            f"read {installation.provider.log}",
        )


def pods_by_zone(pods: Iterable[Json], nodes: Iterable[Json]) -> dict[str, int]:
    """Return how many of the pods each zone has, in the zones' order; pods without a node count as `no zone`."""
    zones = {
        each["metadata"]["name"]: each["metadata"].get("labels", {}).get("topology.kubernetes.io/zone", "no zone")
        for each in nodes
    }
    counted = Counter(zones.get(each["spec"].get("nodeName", ""), "no zone") for each in pods)
    return dict(sorted(counted.items()))


async def _remove_earlier(api: KubeApi) -> None:
    listed = await api.list(WORKFLOWS, {"labelSelector": f"{_LABEL}=true"})
    for each in listed["items"]:
        await api.delete(f"{WORKFLOWS}/{each['metadata']['name']}")


def main() -> int:
    """Run the demo; return the exit code."""
    steps = Steps()
    installation = Installation.find("zonelet", SystemClock())
    try:
        shown = run_undoable(run_demo(installation, steps, target=user_kubeconfig(os.environ)))
    except BuildError as error:
        steps.failure(error)
        return 1
    except KubeError as error:
        steps.failure(SetupError("the API server refused or did not answer", str(error), "see: zonelet status"))
        return 1
    sys.stdout.write(f"{shown}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
