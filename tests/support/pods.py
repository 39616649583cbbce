"""Small pods for tests on a real cluster, and waiting for what becomes of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from provider.clock import SystemClock
from provider.cluster.manifests import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiodocker import Docker

    from provider.kube.client import HttpKubeApi, Json

CLOCK = SystemClock()
PODS = "/api/v1/namespaces/default/pods"


def shell_pod(name: str, script: str, *, restart: str = "Never", container: Json | None = None, **spec: Any) -> Json:
    """A pod of one container `main` that runs a shell script."""
    main = {"name": "main", "image": "busybox:1.36", "command": ["sh", "-c", script], **(container or {})}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "restartPolicy": restart,
            "containers": [main],
            "terminationGracePeriodSeconds": 1,
            "automountServiceAccountToken": False,
            **spec,
        },
    }


async def pod_that(api: HttpKubeApi, name: str, holds: Callable[[Json], object], seconds: float = 60) -> Json:
    """Wait until the pod is there and `holds`; TimeoutError tells what it was instead."""
    try:
        return await wait_for(api, f"{PODS}/{name}", lambda pod: bool(holds(pod)), clock=CLOCK, seconds=seconds)
    except TimeoutError:
        found = await api.list(PODS, {"fieldSelector": f"metadata.name={name}"})
        status = [each.get("status") for each in found["items"]]
        raise TimeoutError(f"pod {name} is not as it should be after {seconds:.0f} s: {status}") from None


async def pod_gone(api: HttpKubeApi, name: str, seconds: float = 60) -> None:
    """Wait until the API server has no pod of this name."""
    deadline = CLOCK.now() + seconds
    while (await api.list(PODS, {"fieldSelector": f"metadata.name={name}"}))["items"]:
        if CLOCK.now() > deadline:
            raise TimeoutError(f"pod {name} is still there after {seconds:.0f} s")
        await CLOCK.sleep(0.3)


def phase_is(*phases: str) -> Callable[[Json], bool]:
    """Whether the pod is in one of these phases."""
    return lambda pod: pod.get("status", {}).get("phase") in phases


def main_state(pod: Json) -> Json:
    """The state of the container `main`: waiting, running or terminated; empty before there is any."""
    for each in pod.get("status", {}).get("containerStatuses") or ():
        if each["name"] == "main":
            state: Json = each["state"]
            return state
    return {}


def is_running(pod: Json) -> bool:
    """Whether `main` runs."""
    return "running" in main_state(pod)


async def event_that(api: HttpKubeApi, pod: str, reason: str, begins: str = "", seconds: float = 60) -> Json:
    """Wait for an event of the pod with this reason whose message begins so; TimeoutError tells what there was."""
    deadline = CLOCK.now() + seconds
    while True:
        selector = {"fieldSelector": f"involvedObject.name={pod}"}
        listed: list[Json] = (await api.list("/api/v1/namespaces/default/events", selector))["items"]
        for each in listed:
            if each["reason"] == reason and each["message"].startswith(begins):
                return each
        if CLOCK.now() > deadline:
            told = [(each["reason"], each["message"]) for each in listed]
            raise TimeoutError(f"no event {reason} {begins} of pod {pod} after {seconds:.0f} s: {told}")
        await CLOCK.sleep(0.3)


def restarts(pod: Json) -> int:
    """The restart count of the pod's only container."""
    count: int = pod["status"]["containerStatuses"][0]["restartCount"]
    return count


async def exec_in(client: Docker, container: str, *command: str) -> None:
    """Run a command in a container by the engine alone."""
    execution = await client.containers.container(container).exec(list(command), stdout=True, stderr=True)
    await execution.start(detach=True)
