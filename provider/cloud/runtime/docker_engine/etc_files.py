"""Texts of /etc/hosts and /etc/resolv.conf, as the kubelet writes them for a pod (pkg/kubelet/kubelet_pods.go)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provider.model.resolver import fitting

if TYPE_CHECKING:
    from collections.abc import Iterable

    from provider.model.request import DnsConfig, HostAlias

_TAB = "\t"
_HEADER = """\
# Kubernetes-managed hosts file.
127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::0\tip6-localnet
fe00::0\tip6-mcastprefix
fe00::1\tip6-allnodes
fe00::2\tip6-allrouters
"""


def hosts_file(address: str, hostname: str, domain: str, aliases: Iterable[HostAlias]) -> str:
    """Return /etc/hosts; with a domain the FQDN comes before the hostname."""
    names = f"{hostname}.{domain}\t{hostname}" if domain else hostname
    text = f"{_HEADER}{address}\t{names}\n"
    lines = [f"{alias.ip}\t{_TAB.join(alias.hostnames)}\n" for alias in aliases]
    return text + ("\n# Entries added by HostAliases.\n" + "".join(lines) if lines else "")


def resolv_conf(dns: DnsConfig, host: str) -> tuple[str, list[str]]:
    """Return /etc/resolv.conf within a resolver's limits, and what had to be left out; `host` is the host's own file.

    With `dns.from_host` what the request adds comes after what the host has, without repeating; an option of the
    request replaces the host's of the same name. With `dns.leading_searches` only the host's search list is taken.
    """
    servers: list[str] = []
    searches: list[str] = []
    options: list[str] = []
    for line in host.splitlines() if dns.from_host or dns.leading_searches else ():
        match line.split():
            case ["nameserver", server, *_] if dns.from_host:
                servers.append(server)
            case ["search", *rest]:
                # the last line of its kind counts: resolv.conf(5); the kubelet drops the root and final dots
                searches = [one.removesuffix(".") for one in rest if one != "."]
            case ["options", *rest] if dns.from_host:
                options += rest
            case _:
                continue
    named = {option.partition(":")[0] for option in dns.options}
    options = [option for option in options if option.partition(":")[0] not in named]
    fit = fitting(
        list(dict.fromkeys([*servers, *dns.nameservers])),
        list(dict.fromkeys([*dns.leading_searches, *searches, *dns.searches])),
    )
    lines = []
    if fit.searches:
        lines.append("search " + " ".join(fit.searches))
    lines += [f"nameserver {server}" for server in fit.nameservers]
    if options or dns.options:
        lines.append("options " + " ".join([*options, *dns.options]))
    return "".join(f"{line}\n" for line in lines), fit.cut
