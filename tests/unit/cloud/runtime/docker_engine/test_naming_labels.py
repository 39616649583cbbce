"""Names are deterministic and distinct; labels come back as they were written."""

import pytest

from provider.cloud.runtime.base import RunSpec, SandboxSpec
from provider.cloud.runtime.docker_engine import labels, naming
from provider.model.ids import PodUid, VSwitchId, ZoneId
from provider.model.request import ContainerSpec

UID = PodUid("9b2c6f0e-0000-4000-8000-000000000001")
SANDBOX = SandboxSpec(
    uid=UID,
    zone=ZoneId("zone-a"),
    vswitch=VSwitchId("vsw-0"),
    address="10.1.0.9",
    name="p",
    namespace="ns",
    hostname="p",
    labels=(("name", "p"), ("namespace", "ns")),
)
RUN = RunSpec(
    uid=UID,
    zone=ZoneId("zone-a"),
    attempt=3,
    container=ContainerSpec(name="main", image="busybox:1", termination_fallback_to_logs=True),
)


def test_names() -> None:
    assert naming.sandbox_name("zl", UID) == f"zl-sandbox_{UID}"
    assert naming.container_name("zl", UID, "main", 3) == f"zl-c_main_{UID}_3"
    assert naming.cluster_network_name("zl") == "zl-cluster"
    assert naming.vswitch_network_name("zl", ZoneId("zone-a"), VSwitchId("vsw-0")) == "zl-vsw_zone-a_vsw-0"
    assert naming.gateway_name("zl", ZoneId("zone-a")) == "zl-gateway_zone-a"


@pytest.mark.parametrize("part", ["", "a_b", "a/b", "-a", "a b", "a\n"])
def test_a_part_that_docker_would_refuse_or_that_makes_names_collide(part: str) -> None:
    with pytest.raises(ValueError, match="Docker name"):
        naming.container_name("zl", UID, part, 0)


def test_a_negative_attempt() -> None:
    with pytest.raises(ValueError, match="negative"):
        naming.container_name("zl", UID, "main", -1)


def test_sandbox_labels_come_back() -> None:
    assert labels.decode(labels.encode_sandbox("zl", SANDBOX), "zl") == labels.SandboxLabels(
        uid=UID, zone=SANDBOX.zone, vswitch=SANDBOX.vswitch, address=SANDBOX.address, tags=SANDBOX.labels
    )


def test_container_labels_come_back() -> None:
    assert labels.decode(labels.encode_container("zl", RUN), "zl") == labels.ContainerLabels(
        uid=UID, zone=RUN.zone, container="main", attempt=3, image="busybox:1", fallback_to_logs=True
    )


def test_what_belongs_to_others_or_to_no_instance_is_none() -> None:
    assert labels.decode(labels.encode_sandbox("other", SANDBOX), "zl") is None
    assert labels.decode({}, "zl") is None
    assert labels.decode(labels.encode_zone("zl", labels.Role.GATEWAY, RUN.zone), "zl") is None


def test_a_missing_label_is_told() -> None:
    written = labels.encode_container("zl", RUN)
    del written["dev.zonelet.attempt"]
    with pytest.raises(ValueError, match="attempt"):
        labels.decode(written, "zl")
