"""A workflow of stock Argo that fans out into 50 steps at once, on zonelet and on the stock node in turn."""

from __future__ import annotations

import time
from statistics import median
from typing import TYPE_CHECKING, Any

from provider.cluster.local_up import up_local
from provider.cluster.manifests import wait_for
from provider.cluster.steps import Steps
from tests.bench.jobs import PODS
from tests.bench.report import markdown
from tests.bench.stock import sides

if TYPE_CHECKING:
    from provider.cluster.installation import Installation
    from provider.kube.client import KubeApi
    from tests.bench.jobs import Side

Json = dict[str, Any]

WORKFLOWS = "/apis/argoproj.io/v1alpha1/namespaces/default/workflows"
STEPS = 50
_WARM_STEPS = 4
_ENDED = ("Succeeded", "Failed", "Error")
_SECONDS = 300.0


def workflow(name: str, steps: int, side: Side) -> Json:
    """Return a workflow whose one step is run `steps` times at once."""
    say = {"name": "say", "container": {"image": "argoproj/argosay:v2", "args": ["echo", "done"]}}
    fan = {"name": "fan", "steps": [[{"name": "one", "template": "say", "withSequence": {"count": str(steps)}}]]}
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "metadata": {"name": name},
        "spec": {"entrypoint": "fan", "templates": [fan, say], **side.placement},
    }


async def fan_out_table(installation: Installation, api: KubeApi, rounds: int) -> str:
    """Install Argo, which stays; run the workflow on both sides in turn, after a small one; return the table."""
    await up_local(installation, Steps(), argo=True, stock=True)
    pair = sides(installation)
    for side in pair:
        await run(installation, api, workflow(f"warm-{side.name}", _WARM_STEPS, side))
    taken: dict[str, list[float]] = {side.name: [] for side in pair}
    for number in range(rounds):
        for side in pair:
            made = workflow(f"fan-{side.name}-{number}", STEPS, side)
            taken[side.name].append(await run(installation, api, made))
        print(f"round {number + 1}, fan-out: {taken}", flush=True)
    own, stock = (median(taken[side.name]) for side in pair)
    row = (f"{STEPS} steps at once: Succeeded after, s", f"{own:.1f}", f"{stock:.1f}", f"{own / stock:.2f}")
    return markdown(("fan-out of stock Argo", "zonelet", "stock kubelet", "ratio"), [row])


async def run(installation: Installation, api: KubeApi, made: Json) -> float:
    """Run a workflow; return the seconds from its creation to its end. It and its pods are removed afterwards."""
    path = f"{WORKFLOWS}/{made['metadata']['name']}"

    def over(found: Json) -> bool:
        return (found.get("status") or {}).get("phase") in _ENDED

    begun = time.monotonic()
    await api.create(WORKFLOWS, made)
    found = await wait_for(api, path, over, clock=installation.clock, seconds=_SECONDS)
    seconds = time.monotonic() - begun
    if found["status"]["phase"] != "Succeeded":
        raise RuntimeError(
            f"{made['metadata']['name']} is {found['status']['phase']}: {found['status'].get('message')}"
        )
    await _remove(installation, api, path, made["metadata"]["name"])
    return seconds


async def _remove(installation: Installation, api: KubeApi, path: str, name: str) -> None:
    """Remove the workflow, and wait until its pods are gone: they would take from the other side's time."""
    await api.delete(path)
    clock = installation.clock
    deadline = clock.now() + _SECONDS
    while (await api.list(PODS, {"labelSelector": f"workflows.argoproj.io/workflow={name}"}))["items"]:
        if clock.now() > deadline:
            raise TimeoutError(f"the pods of {name} are still there after {_SECONDS:.0f} s")
        await clock.sleep(0.5)
