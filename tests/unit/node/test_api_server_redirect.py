"""Endpoints of the service `kubernetes` as redirects."""

from __future__ import annotations

from typing import Any

from provider.model.capacity import Redirect
from provider.node.api_server_redirect import redirects


def service(**spec: Any) -> dict[str, Any]:
    ports = [{"name": "https", "port": 443, "protocol": "TCP"}]
    return {"metadata": {"name": "kubernetes"}, "spec": {"clusterIP": "10.96.0.1", "ports": ports, **spec}}


def endpoints(*addresses: str, port: int = 6443, ready: bool | None = True, kind: str = "IPv4") -> dict[str, Any]:
    conditions = {} if ready is None else {"ready": ready}
    return {
        "addressType": kind,
        "ports": [{"name": "https", "port": port}],
        "endpoints": [{"addresses": [address], "conditions": conditions} for address in addresses],
    }


def test_every_ready_endpoint_is_a_target() -> None:
    slices = [endpoints("10.0.0.2"), endpoints("10.0.0.1", ready=None), endpoints("10.0.0.9", ready=False)]
    wanted = [Redirect("10.96.0.1", 443, (("10.0.0.1", 6443), ("10.0.0.2", 6443)))]
    assert redirects([service()], slices) == wanted


def test_an_override_takes_the_place_of_the_endpoints() -> None:
    wanted = [Redirect("10.96.0.1", 443, (("172.18.0.2", 6443),))]
    assert redirects([service()], [endpoints("127.0.0.1")], "172.18.0.2:6443") == wanted


def test_nothing_for_what_cannot_be_redirected() -> None:
    assert redirects([service()], []) == []
    assert redirects([service()], [endpoints("fd00::1", kind="IPv6")]) == []
    assert redirects([service(clusterIP="None")], [endpoints("10.0.0.1")]) == []
    udp = [{"name": "https", "port": 53, "protocol": "UDP"}]
    assert redirects([service(ports=udp)], [endpoints("10.0.0.1")]) == []
    other = [{"name": "metrics", "port": 8443}]
    assert redirects([service(ports=other)], [endpoints("10.0.0.1")]) == []
