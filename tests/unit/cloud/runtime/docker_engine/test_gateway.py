"""When a container is the router that is wanted, and when it has to be made anew."""

from typing import Any

import pytest

from provider.cloud.runtime.docker_engine.gateway import Cluster, RouterSpec, misfit, router_body
from provider.cloud.runtime.docker_engine.labels import NODE_ADDRESS, zone_label
from provider.model.ids import ZoneId

SPEC = RouterSpec(
    installation="zl",
    zone=ZoneId("zone-a"),
    image="zonelet/gateway:1",
    cluster=Cluster("zl-cluster", "10.0.0.0/22", own=True),
    address="10.0.0.2",
    switches=(("zl-vsw_zone-a_v", "10.0.4.0/22"),),
)
NETWORKS = {"zl-vsw_zone-a_v": "n1"}


def inspected(spec: RouterSpec = SPEC) -> dict[str, Any]:
    return {
        "State": {"Status": "running", "Running": True},
        "Config": {"Labels": router_body(spec)["Labels"]},
        "NetworkSettings": {
            "Networks": {
                "zl-cluster": {"NetworkID": "n0", "IPAddress": "10.0.0.2"},
                "zl-vsw_zone-a_v": {"NetworkID": "n1", "IPAddress": "10.0.7.254"},
                "bridge": {"NetworkID": "b", "IPAddress": "172.17.0.2"},
            }
        },
    }


def test_the_router_itself_fits() -> None:
    assert misfit(inspected(), SPEC, NETWORKS) == ""


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        (("State", "Running"), False, "it is running"),
        (("State", "Paused"), True, "it is running"),
        (("Config", "Labels"), None, "another way"),
        (("NetworkSettings", "Networks", "zl-vsw_zone-a_v", "NetworkID"), "n9", "earlier network"),
        (("NetworkSettings", "Networks", "zl-cluster", "IPAddress"), "10.0.0.9", "10.0.0.9"),
        (("NetworkSettings", "Networks", "bridge", "IPAddress"), "", "none"),
        (("NetworkSettings", "Networks", "other"), {}, "networks bridge, other"),
    ],
)
def test_what_does_not_fit_is_named(path: tuple[str, ...], value: object, reason: str) -> None:
    container = inspected()
    *parents, last = path
    place = container
    for parent in parents:
        place = place[parent]
    place[last] = value
    assert reason in misfit(container, SPEC, NETWORKS)


def test_another_address_or_image_is_another_recipe() -> None:
    for change in ({"address": "10.0.0.3"}, {"image": "zonelet/gateway:2"}):
        fields = {name: getattr(SPEC, name) for name in SPEC.__struct_fields__}
        assert misfit(inspected(RouterSpec(**(fields | change))), SPEC, NETWORKS) == "it was made in another way"


def test_an_address_of_ours_is_reserved_in_our_network_only() -> None:
    fields = {name: getattr(SPEC, name) for name in SPEC.__struct_fields__}
    joined = RouterSpec(**(fields | {"cluster": Cluster("kind", "172.18.0.0/16", own=False)}))
    assert SPEC.networks() == {"zl-cluster": "10.0.0.2", "zl-vsw_zone-a_v": "10.0.7.254", "bridge": ""}
    assert joined.networks() == {"kind": "", "zl-vsw_zone-a_v": "10.0.7.254", "bridge": ""}
    assert router_body(joined)["NetworkingConfig"] == {"EndpointsConfig": {"kind": {}}}


def test_labels_tell_zone_and_address() -> None:
    labels = router_body(SPEC)["Labels"]
    assert (zone_label(labels), labels[NODE_ADDRESS]) == ("zone-a", "10.0.0.2")
