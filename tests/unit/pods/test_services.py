"""v1 Services as the environment needs them."""

from provider.pods.services import service_of
from provider.translate.references import Service


def test_ports_keep_their_order_and_defaults() -> None:
    item = {
        "metadata": {"namespace": "ns", "name": "web"},
        "spec": {"clusterIP": "10.96.3.4", "ports": [{"port": 80}, {"name": "dns", "port": 53, "protocol": "UDP"}]},
    }
    assert service_of(item) == Service("ns", "web", "10.96.3.4", (("", 80, "TCP"), ("dns", 53, "UDP")))


def test_a_service_of_type_external_name_has_no_address() -> None:
    item = {"metadata": {"namespace": "ns", "name": "out"}, "spec": {"externalName": "example.org"}}
    assert service_of(item) == Service("ns", "out", "", ())
