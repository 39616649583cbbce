"""What a resolver bears of /etc/resolv.conf (kubernetes pkg/kubelet/network/dns, pkg/apis/core/validation). Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST_NAMESERVERS = 3
MOST_SEARCHES = 32
LONGEST_SEARCH = 253
LONGEST_SEARCH_LINE = 2048


class Fitting(NamedTuple):
    """The lists as far as a resolver bears them, and a sentence for each list that was cut."""

    nameservers: list[str]
    searches: list[str]
    cut: list[str]


def fitting(nameservers: Sequence[str], searches: Sequence[str]) -> Fitting:
    """Return both lists within the limits: the first ones stay, search domains that are too long are left out."""
    servers, cut = list(nameservers), []
    if len(servers) > MOST_NAMESERVERS:
        servers = servers[:MOST_NAMESERVERS]
        cut.append(
            "Nameserver limits were exceeded, some nameservers have been omitted, "
            f"the applied nameserver line is: {' '.join(servers)}"
        )
    kept = [one for one in searches[:MOST_SEARCHES] if len(one) <= LONGEST_SEARCH]
    while len(" ".join(kept)) > LONGEST_SEARCH_LINE:
        kept.pop()
    if len(kept) < len(searches):
        cut.append(
            "Search Line limits were exceeded, some search paths have been omitted, "
            f"the applied search line is: {' '.join(kept)}"
        )
    return Fitting(servers, kept, cut)
