"""The address blocks of the zones: chosen once, clear of what is in use, and kept in the cloud's journal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from provider.cloud.addresses.block_choice import Blocks, settle_blocks
from provider.config.load import zones_of, zones_without_vswitch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from provider.cloud.addresses.free_blocks import Occupied
    from provider.cloud.instances.journal import Journal
    from provider.config.schema import ProviderConfig
    from provider.model.capacity import Zone

__all__ = ["configured_blocks", "settle", "zones_with"]

_BLOCKS = "blocks"
"""The journal's setting with the address blocks that were chosen."""


def settle(
    config: ProviderConfig,
    journal: Journal,
    used: Sequence[Occupied],
    *,
    own_network: bool,
    there: str = "",
    avoid: Sequence[Occupied] = (),
) -> Blocks:
    """Choose what is not chosen yet, and keep it in the journal. AddressClashError.

    `there` is the block of a cluster's network of ours that is there. It is held like one that was chosen here, for
    `used` does not name our own networks: a further zone must stay clear of it. `avoid`: as for settle_blocks.
    """
    stored = journal.setting(_BLOCKS)
    before = Blocks() if stored is None else msgspec.json.decode(stored, type=Blocks)
    before = Blocks(there or before.cluster if own_network else "", before.zones)
    named = configured_blocks(config)
    zones = zones_without_vswitch(config)
    blocks = settle_blocks(zones, named, used, before, cluster=own_network, avoid=avoid)
    journal.store_setting(_BLOCKS, msgspec.json.encode(blocks))
    return blocks


def configured_blocks(config: ProviderConfig) -> list[str]:
    """Return the blocks that the configuration names."""
    return [each.cidr for zone in config.zones for each in zone.v_switches]


def zones_with(config: ProviderConfig, blocks: Blocks) -> tuple[Zone, ...]:
    """Return the configured zones, those without a vSwitch with the block that was chosen for them."""
    return zones_of(config, [blocks.zones[zone] for zone in zones_without_vswitch(config)])
