"""The blocks of an installation that its configuration does not name: chosen once, then kept. Pure.

The caller stores what is returned (JSON of `Blocks`) and gives it back the next time: pods live in these blocks.
"""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import TYPE_CHECKING

from msgspec import Struct

from provider.cloud.addresses.free_blocks import (
    METADATA,
    AddressClashError,
    Occupied,
    choose_blocks,
    refuse_clashes,
)
from provider.model.ids import ZoneId

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class Blocks(Struct, frozen=True, omit_defaults=True):
    """CIDRs that were chosen: the cluster's network ("" where somebody else's is joined), and zones without vSwitch."""

    cluster: str = ""
    zones: dict[ZoneId, str] = {}

    def all(self) -> tuple[str, ...]:
        """Return every block."""
        return tuple(filter(None, (self.cluster, *self.zones.values())))


def settle_blocks(
    zones: Sequence[ZoneId],
    configured: Iterable[str],
    used: Iterable[Occupied],
    stored: Blocks | None = None,
    *,
    cluster: bool = True,
    avoid: Iterable[Occupied] = (),
) -> Blocks:
    """Return a block for each of `zones` (those without a vSwitch) and, if asked, for the cluster's network.

    `configured` are the CIDRs that the configuration names, `used` is what others have (not this installation's own
    networks). `avoid` is what others have chosen and do not use yet: no new block lies there. What was chosen before
    stays, for zones that are gone too: their networks may still be there.
    AddressClashError, one line each: a configured or an earlier chosen block clashes with something in use, or there
    are not enough free ones.
    """
    named, occupied, before = list(configured), list(used), stored or Blocks()
    refuse_clashes(named, occupied)
    _refuse_stored(before, named, occupied)
    lacking = [zone for zone in zones if zone not in before.zones]
    needs_cluster = cluster and not before.cluster
    kept = [*named, *before.zones.values(), *filter(None, [before.cluster])]
    chosen = iter(choose_blocks(len(lacking) + needs_cluster, kept, [*occupied, *avoid]))
    own = next(chosen) if needs_cluster else before.cluster
    return Blocks(own, before.zones | dict(zip(lacking, chosen, strict=True)))


def _refuse_stored(stored: Blocks, configured: Sequence[str], used: Sequence[Occupied]) -> None:
    theirs = [*used, METADATA, *(Occupied(IPv4Network(cidr), "the configuration") for cidr in configured)]
    blocks = {f"zone {zone}": cidr for zone, cidr in stored.zones.items()}
    if stored.cluster:
        blocks["the cluster's network"] = stored.cluster
    mistakes = [
        f"{cidr}, chosen earlier for {whose}, clashes with {other.network} of {other.owner}; take that away, or let "
        "`zonelet down` give the block up and start again"
        for whose, cidr in blocks.items()
        for other in theirs
        if IPv4Network(cidr).overlaps(other.network)
    ]
    if mistakes:
        raise AddressClashError(mistakes)
