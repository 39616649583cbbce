"""What a zone's router is told: one shell script, made from a plan. Pure.

The script is for the router's own image (dash, iproute2, nft) and runs inside it, by `docker exec`; it may be repeated
at any time and changes nothing the second time. It owns what it names: the routes of protocol `_PROTOCOL`, the nft
tables `zonelet` and `zonelet-redirects`.

    pod -> pod, same vSwitch       the bridge; the router sees nothing
    pod -> pod, other vSwitch      forwarded; source kept
    pod -> pod, other zone         forwarded over the cluster's network to that zone's router; source kept
    pod -> anything else there     leaves as the router's own address: nobody there has a route to pods
    pod -> elsewhere               masqueraded on the way out
    pod -> a redirect              DNAT, then as above; if the target is in the same vSwitch it would answer past the
                                   router, untranslated, so the pod's address is replaced by the gateway's
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from msgspec import Struct

from provider.cloud.runtime.docker_engine.container_config import mac_address

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from provider.model.capacity import Redirect

_PROTOCOL = 120
"""Marks this project's routes (rtnetlink(7): above RTPROT_STATIC, numbers are free to use)."""

_PREAMBLE = """\
set -eu
interface() {
  ip -o -4 addr show to "$1" | { read -r _ name _ && echo "$name"; } && return
  echo "no interface has the address $1" >&2
  exit 1
}
hardware() {
  [ "$(cat "/sys/class/net/$1/address")" = "$2" ] || ip link set dev "$1" address "$2"
}
"""


class Attachment(Struct, frozen=True):
    """One network of a router."""

    found: str
    """the address that the engine gave the interface, by which it is known"""
    address: str
    """the address that the router holds there; may be the same"""
    cidr: str


class RouterPlan(Struct, frozen=True, kw_only=True):
    """Everything that a zone's router must be."""

    cluster: Attachment
    switches: tuple[Attachment, ...]
    out: str
    """the address of the interface on the way out (the engine's default bridge)"""
    out_gateway: str
    others: tuple[tuple[str, str], ...]
    """(CIDR, router) of every vSwitch of the other zones"""


def router_script(plan: RouterPlan) -> str:
    """Return the script that makes a router what the plan says."""
    lines = [_PREAMBLE, *_interfaces(plan), *_routes(plan), "nft -f - <<END", *_source_rules(plan), "END"]
    return "\n".join(lines) + "\n"


def redirect_script(redirects: Sequence[Redirect]) -> str:
    """Return the script that makes these redirects the only ones. ValueError for what is no address or port.

    Targets share new connections evenly; without a target a connection is refused, as kube-proxy does for a service
    without endpoints. Connections that exist keep their target.
    """
    rules = ["set -eu", "nft -f - <<END", "table ip zonelet-redirects", "delete table ip zonelet-redirects"]
    rules.append("table ip zonelet-redirects {")
    matches: list[str] = []
    refused: list[str] = []
    for number, redirect in enumerate(redirects):
        match = f"ip daddr {ipaddress.IPv4Address(redirect.address)} tcp dport {_port(redirect.port)}"
        count = len(redirect.targets)
        for index, (host, port) in enumerate(redirect.targets):
            translation = f"meta l4proto tcp dnat to {ipaddress.IPv4Address(host)}:{_port(port)}"
            rules += [f"  chain r{number}t{index} {{", f"    {translation}", "  }"]
        if count == 0:
            refused.append(f"    {match} reject with tcp reset")
        elif count == 1:
            matches.append(f"    {match} goto r{number}t0")
        else:
            targets = ", ".join(f"{index} : goto r{number}t{index}" for index in range(count))
            matches.append(f"    {match} numgen inc mod {count} vmap {{ {targets} }}")
    rules += ["  chain redirects {", "    type nat hook prerouting priority dstnat", *matches, "  }"]
    rules += ["  chain refused {", "    type filter hook forward priority filter", *refused, "  }"]
    return "\n".join([*rules, "}", "END"]) + "\n"


def _interfaces(plan: RouterPlan) -> Iterator[str]:
    """Name the interfaces; give them their addresses, and the MAC that goes with the address.

    So a router that is made anew answers under the same MAC, and no neighbour has to find out.
    """
    yield f"out=$(interface {plan.out})"
    for name, each in _named(plan):
        length = ipaddress.IPv4Network(each.cidr).prefixlen
        yield f"{name}=$(interface {each.found})"
        yield f'hardware "${name}" {mac_address(each.address)}'
        yield f'ip -4 addr replace {each.address}/{length} dev "${name}"'
        yield f'ip -4 route replace {each.cidr} dev "${name}" proto kernel scope link src {each.address}'


def _routes(plan: RouterPlan) -> Iterator[str]:
    """Set the routes, then remove those of an earlier plan.

    The way out is two halves, not a default route: the engine sets and removes the default route as it likes, and
    fails if somebody else's is in its place.
    """
    halves = ("0.0.0.0/1", "128.0.0.0/1")
    for half in halves:
        yield f'ip -4 route replace {half} via {plan.out_gateway} dev "$out" proto {_PROTOCOL}'
    for cidr, router in plan.others:
        yield f'ip -4 route replace {cidr} via {router} dev "$cluster" proto {_PROTOCOL}'
    wanted = " ".join([*halves, *(cidr for cidr, _ in plan.others)])
    yield f"ip -4 route show proto {_PROTOCOL} | while read -r block _; do"
    yield f'  case " {wanted} " in *" $block "*) ;; *) ip -4 route del "$block" proto {_PROTOCOL} ;; esac'
    yield "done"


def _source_rules(plan: RouterPlan) -> Iterator[str]:
    """Yield the nft table that decides which source address a packet leaves with.

    The last chain keeps the router from sending ICMP redirects, which would lead pods past it: the sysctl would do,
    but interfaces that exist before it is set keep their own, and newer engines refuse it for a named interface.
    """
    pods = [each.cidr for each in plan.switches] + [cidr for cidr, _ in plan.others]
    yield "table ip zonelet"
    yield "delete table ip zonelet"
    yield "table ip zonelet {"
    if pods:
        yield f"  set pods {{ type ipv4_addr; flags interval; elements = {{ {', '.join(pods)} }} }}"
    yield "  chain source {"
    yield "    type nat hook postrouting priority srcnat"
    for each in plan.switches:
        yield f"    ct status dnat ip saddr {each.cidr} ip daddr {each.cidr} snat to {each.address}"
    if pods:
        yield f'    oifname "$cluster" ip saddr @pods ip daddr != @pods snat to {plan.cluster.address}'
    yield '    oifname "$out" masquerade'
    yield "  }"
    yield "  chain own {"
    yield "    type filter hook output priority filter"
    yield "    icmp type redirect drop"
    yield "  }"
    yield "}"


def _named(plan: RouterPlan) -> Iterator[tuple[str, Attachment]]:
    yield "cluster", plan.cluster
    yield from ((f"switch{number}", each) for number, each in enumerate(plan.switches))


def _port(port: int) -> int:
    if not 0 < port < 1 << 16:
        raise ValueError(f"{port} is no port")
    return port
