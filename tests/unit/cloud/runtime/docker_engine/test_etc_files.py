"""The texts that the kubelet would write."""

from provider.cloud.runtime.docker_engine.etc_files import hosts_file, resolv_conf
from provider.model.request import DnsConfig, HostAlias

HOST = "# c\nnameserver 10.0.0.2\nsearch old\nsearch corp.example\noptions ndots:1 edns0\n"


def text_of(dns: DnsConfig, host: str) -> str:
    text, cut = resolv_conf(dns, host)
    assert cut == []
    return text


def test_hosts_with_a_domain_and_aliases() -> None:
    text = hosts_file("10.1.0.9", "p", "svc.ns", [HostAlias("1.2.3.4", ("a", "b"))])
    assert text.startswith("# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n")
    assert text.endswith("10.1.0.9\tp.svc.ns\tp\n\n# Entries added by HostAliases.\n1.2.3.4\ta\tb\n")


def test_hosts_without() -> None:
    assert hosts_file("10.1.0.9", "p", "", []).endswith("ip6-allrouters\n10.1.0.9\tp\n")


def test_resolv_conf_of_the_request_alone() -> None:
    dns = DnsConfig(nameservers=("10.96.0.10",), searches=("ns.svc.x", "svc.x"), options=("ndots:5",))
    assert text_of(dns, HOST) == "search ns.svc.x svc.x\nnameserver 10.96.0.10\noptions ndots:5\n"


def test_resolv_conf_over_the_hosts() -> None:
    dns = DnsConfig(from_host=True, nameservers=("10.0.0.2", "9.9.9.9"), options=("ndots:5",))
    expected = "search corp.example\nnameserver 10.0.0.2\nnameserver 9.9.9.9\noptions edns0 ndots:5\n"
    assert text_of(dns, HOST) == expected


def test_resolv_conf_of_a_cluster_keeps_the_hosts_search_list() -> None:
    dns = DnsConfig(("10.96.0.10",), ("own",), ("ndots:5",), leading_searches=("ns.svc.x", "x"))
    host = "nameserver 10.0.0.2\nsearch corp.example. . x\noptions edns0\n"
    assert text_of(dns, host) == ("search ns.svc.x x corp.example own\nnameserver 10.96.0.10\noptions ndots:5\n")


def test_resolv_conf_within_a_resolvers_limits() -> None:
    dns = DnsConfig(from_host=True, nameservers=("1.1.1.1", "1.1.1.2", "1.1.1.3"))
    text, cut = resolv_conf(dns, HOST)
    assert text.count("nameserver") == 3
    assert [one.rpartition(": ")[2] for one in cut] == ["10.0.0.2 1.1.1.1 1.1.1.2"]


def test_resolv_conf_of_nothing() -> None:
    assert text_of(DnsConfig(), HOST) == ""
