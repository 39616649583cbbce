"""resolv.conf as the kubelet makes it of dnsPolicy and dnsConfig."""

from __future__ import annotations

from typing import Any

import pytest

from provider.model.pod import Pod, pod_from_json
from provider.model.request import DnsConfig
from provider.model.resolver import fitting
from provider.translate.dns import dns_config, dns_notices

CLUSTER = ("10.96.0.10",)
DOMAINS = ("ns.svc.cluster.local", "svc.cluster.local", "cluster.local")


def pod(**spec: Any) -> Pod:
    containers = [{"name": "c", "image": "i"}]
    return pod_from_json(
        {"metadata": {"name": "p", "namespace": "ns", "uid": "u"}, "spec": {"containers": containers, **spec}}
    )


def made(*, dns: tuple[str, ...] = CLUSTER, **spec: Any) -> DnsConfig:
    return dns_config(pod(**spec), dns, "cluster.local")


def told(*, dns: tuple[str, ...] = CLUSTER, **spec: Any) -> list[tuple[str, str]]:
    return dns_notices(pod(**spec), dns, "cluster.local")


@pytest.mark.parametrize("policy", ["ClusterFirst", "ClusterFirstWithHostNet"])
def test_cluster_first(policy: str) -> None:
    assert made(dnsPolicy=policy) == DnsConfig(CLUSTER, options=("ndots:5",), leading_searches=DOMAINS)
    assert told(dnsPolicy=policy) == []


def test_without_a_cluster_dns_the_hosts_file_is_taken_and_it_is_told() -> None:
    assert made(dns=()) == DnsConfig(from_host=True)
    assert told(dns=()) == [
        (
            "MissingClusterDNS",
            (
                'pod: "p_ns(u)". kubelet does not have ClusterDNS IP configured and cannot create Pod using "ClusterFirst" '
                'policy. Falling back to "Default" policy.'
            ),
        )
    ]


def test_default_and_none() -> None:
    assert made(dnsPolicy="Default") == DnsConfig(from_host=True)
    own = {"nameservers": ["1.1.1.1"], "searches": ["a", "a"], "options": [{"name": "edns0"}]}
    assert made(dnsPolicy="None", dnsConfig=own) == DnsConfig(("1.1.1.1",), ("a",), ("edns0",))
    assert told(dnsPolicy="Default", dns=()) == told(dnsPolicy="None", dnsConfig=own, dns=()) == []


def test_dns_config_is_added_to_the_policy() -> None:
    own = {"options": [{"name": "ndots", "value": "2"}], "searches": ["x"], "nameservers": ["10.96.0.10", "9.9.9.9"]}
    dns = made(dnsConfig=own)
    assert (dns.nameservers, dns.options) == (("10.96.0.10", "9.9.9.9"), ("ndots:2",))
    assert (dns.leading_searches, dns.searches) == (DOMAINS, ("x",))


def test_what_is_too_much_is_told() -> None:
    servers = [f"1.1.1.{n}" for n in range(3)]
    (notice,) = told(dnsConfig={"nameservers": servers})
    assert notice == (
        "DNSConfigForming",
        (
            "Nameserver limits were exceeded, some nameservers have been omitted, "
            "the applied nameserver line is: 10.96.0.10 1.1.1.0 1.1.1.1"
        ),
    )
    (notice,) = told(dnsConfig={"searches": [f"d{n}" for n in range(30)]})
    assert notice[1].startswith("Search Line limits were exceeded, some search paths have been omitted, ")
    assert notice[1].endswith(" d27 d28")


def test_limits_of_a_resolver() -> None:
    assert fitting(["a"], ["b" * 253]) == (["a"], ["b" * 253], [])
    assert fitting([], ["b" * 254, "c"]).searches == ["c"]
    long = [f"{n:02}" + "x" * 198 for n in range(12)]
    fit = fitting([], long)
    assert fit.searches == long[:10]
    assert len(fit.cut) == 1
