from __future__ import annotations

from provider.cluster.trouble import pod_line, pods_of
from tests.unit.cluster.kube_fake import FakeKubeApi


def _pod(**status: object) -> dict[str, object]:
    return {"metadata": {"name": "p"}, "spec": {"nodeName": "n"}, "status": {"phase": "Pending", **status}}


def test_a_pods_line_says_what_it_waits_for() -> None:
    waiting = {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}
    assert pod_line(_pod(containerStatuses=[{"name": "main", "state": waiting}])) == (
        "pod p on n: Pending main: ImagePullBackOff no such image"
    )
    ended = {"terminated": {"reason": "Error", "exitCode": 3}}
    assert "init: Error exit code 3" in pod_line(_pod(initContainerStatuses=[{"name": "init", "state": ended}]))
    unplaced = [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}]
    assert "PodScheduled: Unschedulable 0/3 nodes" in pod_line(_pod(conditions=unplaced))


async def test_a_namespace_without_pods_says_so_and_shows_its_newest_events() -> None:
    events = {
        f"/api/v1/namespaces/argo/events/{number}": {
            "metadata": {}, "lastTimestamp": f"2026-01-01T00:00:{number:02}Z", "type": "Warning", "reason": "FailedCreate",
            "message": f"number\n{number}", "involvedObject": {"name": "server"},
        }
        for number in range(20)
    }  # fmt: skip
    text = await pods_of(FakeKubeApi(events), "argo", "app=server")
    lines = text.splitlines()
    assert lines[0] == "no pod was made in argo (app=server)"
    assert lines[-1] == "event 2026-01-01T00:00:19Z Warning FailedCreate server: number 19"
    assert len(lines) == 13
