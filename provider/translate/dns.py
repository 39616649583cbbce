"""dnsPolicy and dnsConfig (pkg/kubelet/network/dns, v1.37): what goes into resolv.conf, and what is told about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provider.model.request import DnsConfig
from provider.model.resolver import fitting

if TYPE_CHECKING:
    from collections.abc import Sequence

    from provider.model.pod import Pod

FORMING = "DNSConfigForming"
MISSING = "MissingClusterDNS"


def dns_config(pod: Pod, cluster_dns: Sequence[str], cluster_domain: str) -> DnsConfig:
    """Return the lines for a pod; what the engine's host adds is known to the cloud only."""
    spec = pod.spec
    if spec.dns_policy == "None":
        base = DnsConfig()
    elif _wants_cluster_dns(pod) and cluster_dns:
        domains = (f"{pod.metadata.namespace}.svc.{cluster_domain}", f"svc.{cluster_domain}", cluster_domain)
        leading = domains if cluster_domain else ()
        base = DnsConfig(tuple(cluster_dns), options=("ndots:5",), leading_searches=leading)
    else:
        base = DnsConfig(from_host=True)
    own = spec.dns_config
    if own is None:
        return base
    options = dict(option.partition(":")[::2] for option in base.options)
    options |= {option.name: option.value or "" for option in own.options or ()}
    return DnsConfig(
        tuple(dict.fromkeys((*base.nameservers, *(own.nameservers or ())))),
        tuple(dict.fromkeys(own.searches or ())),
        tuple(f"{name}:{value}" if value else name for name, value in options.items()),
        from_host=base.from_host,
        leading_searches=base.leading_searches,
    )


def dns_notices(pod: Pod, cluster_dns: Sequence[str], cluster_domain: str) -> list[tuple[str, str]]:
    """Return (reason, message) of the warnings that the kubelet gives when it makes a pod's sandbox."""
    notices = []
    if _wants_cluster_dns(pod) and not cluster_dns:
        meta = pod.metadata
        text = (
            f'pod: "{meta.name}_{meta.namespace}({meta.uid})". kubelet does not have ClusterDNS IP configured and '
            'cannot create Pod using "ClusterFirst" policy. Falling back to "Default" policy.'
        )
        notices.append((MISSING, text))
    asked = dns_config(pod, cluster_dns, cluster_domain)
    searches = tuple(dict.fromkeys((*asked.leading_searches, *asked.searches)))
    return notices + [(FORMING, text) for text in fitting(asked.nameservers, searches).cut]


def _wants_cluster_dns(pod: Pod) -> bool:
    return pod.spec.dns_policy.startswith("ClusterFirst")
