from __future__ import annotations

import pytest

from provider.model.errors import Rejection
from provider.model.pod import Container, PodSpec, Resources
from provider.translate.sizing import pod_limits, pod_requests, qos_class


def box(cpu: str, *, sidecar: bool = False) -> Container:
    return Container(name="c", restart_policy="Always" if sidecar else None, resources=Resources(requests={"cpu": cpu}))


@pytest.mark.parametrize(
    ("inits", "expected"),
    [
        ([], 300),
        ([box("1")], 1000),
        ([box("100m", sidecar=True)], 400),
        ([box("100m", sidecar=True), box("1")], 1100),
        ([box("1"), box("100m", sidecar=True)], 1000),
        ([box("100m", sidecar=True), box("250m"), box("1", sidecar=True)], 1400),
    ],
)
def test_pod_requests_follow_upstream(inits: list[Container], expected: int) -> None:
    spec = PodSpec(containers=[box("100m"), box("200m")], init_containers=inits)
    assert pod_requests(spec) == {"cpu": expected}
    assert pod_requests(PodSpec(containers=spec.containers, init_containers=inits, overhead={"cpu": "5m"})) == {
        "cpu": expected + 5
    }


def test_a_limit_alone_is_the_request() -> None:
    assert pod_requests(PodSpec(containers=[Container(name="c", resources=Resources(limits={"memory": "1Ki"}))])) == {
        "memory": 1024
    }


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        (None, "BestEffort"),
        (Resources(limits={"cpu": "1", "memory": "1Gi"}), "Guaranteed"),
        (Resources(limits={"cpu": "1", "memory": "1Gi"}, requests={"cpu": "500m"}), "Burstable"),
        (Resources(limits={"cpu": "1"}), "Burstable"),
        (Resources(requests={"ephemeral-storage": "1"}), "BestEffort"),
    ],
)
def test_qos(resources: Resources | None, expected: str) -> None:
    assert qos_class(PodSpec(containers=[Container(name="c", resources=resources)])) == expected


def test_a_gpu_is_refused_by_path() -> None:
    with pytest.raises(Rejection) as refused:
        pod_requests(PodSpec(containers=[Container(name="c", resources=Resources(limits={"nvidia.com/gpu": "1"}))]))
    assert refused.value.field == "spec.containers[0].resources.limits.nvidia.com/gpu"


def test_pod_limits_follow_upstream() -> None:
    def limited(memory: str, *, sidecar: bool = False) -> Container:
        restart = "Always" if sidecar else None
        return Container(name="c", restart_policy=restart, resources=Resources(limits={"memory": memory}))

    spec = PodSpec(
        containers=[limited("1Ki"), Container(name="d")],
        init_containers=[limited("1Ki", sidecar=True), limited("4Ki")],
        overhead={"memory": "1", "cpu": "1"},
    )
    assert pod_limits(spec) == {"memory": 5 * 1024 + 1}
    assert pod_limits(PodSpec(containers=[box("1")])) == {}
