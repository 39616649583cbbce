from __future__ import annotations

from typing import Any

import pytest

from provider.config.profiles import load_profile
from provider.model.errors import Rejection
from provider.translate.profile_rules import check_rules

Json = dict[str, Any]


def raw(**spec: Any) -> Json:
    return {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c"}], **spec}}


def refusal(pod: Json, profile: str = "eci") -> Rejection:
    with pytest.raises(Rejection) as caught:
        check_rules(pod, load_profile(profile))
    return caught.value


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        ({"hostNetwork": True}, "spec.hostNetwork"),
        ({"hostPID": True}, "spec.hostPID"),
        ({"volumes": [{"name": "v", "hostPath": {"path": "/var"}}]}, "spec.volumes[0].hostPath"),
        (
            {"containers": [{"name": "c", "ports": [{"containerPort": 1}, {"hostPort": 80}]}]},
            "spec.containers[0].ports[1].hostPort",
        ),
    ],
)
def test_what_the_cloud_has_not_is_refused_by_its_path(spec: Json, path: str) -> None:
    told = refusal(raw(**spec))
    feature = path.rpartition(".")[2]
    assert (told.reason, told.field) == ("ProviderFailed", path)
    assert told.message == f"FeatureBasedConstraintConflict: {path}: {feature} is not supported by profile eci"


def test_a_daemon_set_is_refused() -> None:
    pod = raw()
    owner = {"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "logs", "controller": True}
    pod["metadata"]["ownerReferences"] = [owner]
    assert "DaemonSet logs: daemonSet is not supported" in refusal(pod).message
    owner["kind"] = "ReplicaSet"
    check_rules(pod, load_profile("eci"))


def test_privileged_is_fargates_refusal_and_not_ecis() -> None:
    pod = raw(initContainers=[{"name": "i", "securityContext": {"privileged": True}}])
    check_rules(pod, load_profile("eci"))
    assert refusal(pod, "fargate").message == (
        "spec.initContainers[0].securityContext.privileged: privileged is not supported by profile fargate"
    )


def test_twenty_containers_and_twenty_volumes() -> None:
    fits = raw(
        initContainers=[{"name": f"i{n}"} for n in range(10)],
        containers=[{"name": f"c{n}"} for n in range(10)],
        volumes=[{"name": f"v{n}", "emptyDir": {}} for n in range(20)],
    )
    check_rules(fits, load_profile("eci"))
    for group in ("containers", "volumes"):
        more = {**fits, "spec": {**fits["spec"], group: [*fits["spec"][group], {"name": "more"}]}}
        assert refusal(more).message == (
            f"QuotaExceeded: spec.{group}: 21 {group}, and an instance of profile eci has at most 20"
        )


def test_plain_has_no_rules() -> None:
    check_rules(raw(hostNetwork=True, volumes=[{"name": "v", "hostPath": {"path": "/"}}] * 30), load_profile("plain"))
