from __future__ import annotations

import pytest
from msgspec.structs import replace

from provider.config.profiles import load_profile
from provider.model.ids import InstanceId, PodUid, VSwitchId, ZoneId
from provider.model.instance import Instance
from provider.model.pod import Pod, pod_from_json
from provider.model.size import GIB
from provider.translate.written_back import written_back

ECI = "k8s.aliyun.com/eci-"
INSTANCE = Instance(
    uid=PodUid("u"),
    id=InstanceId("eci-1"),
    zone=ZoneId("zone-a"),
    name="p",
    namespace="n",
    vswitch=VSwitchId("vsw-1"),
    cpu=4000,
    memory=8 * GIB,
    placed_at=1.0,
)


def pod(**annotations: str) -> Pod:
    keys = {ECI + key.replace("_", "-"): value for key, value in annotations.items()}
    return pod_from_json({"metadata": {"name": "p", "annotations": keys}, "spec": {"containers": [{"name": "c"}]}})


def test_eci_tells_id_spec_zone_and_vswitch() -> None:
    assert written_back(pod(), INSTANCE, load_profile("eci")) == {
        f"{ECI}instance-id": "eci-1",
        f"{ECI}instance-spec": "4.0-8.0Gi",
        f"{ECI}instance-zone": "zone-a",
        f"{ECI}vswitch": "vsw-1",
    }


def test_a_type_that_was_asked_for_is_told_by_its_name() -> None:
    found = written_back(pod(use_specs="2-4Gi,ecs.c6.xlarge"), INSTANCE, load_profile("eci"))
    assert found[f"{ECI}instance-spec"] == "ecs.c6.xlarge"


def test_what_the_user_has_given_stays_and_what_another_instance_left_does_not() -> None:
    found = written_back(pod(vswitch="vsw-2,vsw-1", instance_id="eci-0"), INSTANCE, load_profile("eci"))
    assert f"{ECI}vswitch" not in found
    assert found[f"{ECI}instance-id"] == "eci-1"


@pytest.mark.parametrize(
    ("profile", "expected"),
    [
        ("acs", {"alibabacloud.com/pod-use-spec": "0.5-1Gi"}),
        ("fargate", {"CapacityProvisioned": "0.5vCPU 1GB"}),
        ("aci", {}),
        ("plain", {}),
    ],
)
def test_the_other_clouds(profile: str, expected: dict[str, str]) -> None:
    half = replace(INSTANCE, cpu=500, memory=GIB)
    assert written_back(pod(), half, load_profile(profile)) == expected


def test_nothing_is_told_before_the_instance_has_its_place() -> None:
    assert written_back(pod(), replace(INSTANCE, placed_at=None), load_profile("eci")) == {}


def test_what_stands_there_already_is_not_written_again() -> None:
    assert written_back(pod(instance_id="eci-1"), INSTANCE, load_profile("eci")) == {}
