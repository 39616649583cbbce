"""Reads the configuration and tells every mistake in it at once, each with its path in the file.

`document.py` says what a value must be, `checks.py` what it must mean, `profiles.py` what the profile's file says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from provider.config.checks import mistakes_of
from provider.config.document import ConfigError, document_of, read, text_of
from provider.config.profiles import load_profile
from provider.config.schema import ProviderConfig, ZoneConfig
from provider.model.capacity import VSwitch, Zone
from provider.model.ids import VSwitchId, ZoneId
from provider.model.quantity import milli, whole

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

__all__ = ["ConfigError", "load", "node_name", "parse", "text_of", "zones_of", "zones_without_vswitch"]


def load(path: Path | str) -> ProviderConfig:
    """Return the configuration in a file; ConfigError for a file that cannot be read or used."""
    return parse(text_of(path))


def parse(text: str) -> ProviderConfig:
    """Return the configuration in a YAML text; an empty one is all defaults. ConfigError with every mistake."""
    mistakes: list[str] = []
    config = read(document_of(text), ProviderConfig, "", mistakes)
    mistakes += mistakes_of(config)
    try:
        load_profile(config.profile)
    except ConfigError as error:
        mistakes += [f"profile: {each}" for each in error.mistakes]
    if mistakes:
        raise ConfigError(mistakes)
    return config


def zones_of(config: ProviderConfig, free_blocks: Sequence[str] = ()) -> tuple[Zone, ...]:
    """Return the zones of a checked configuration; CPU in milli-cores, memory and disk in bytes.

    `free_blocks`: CIDRs for the zones that name no vSwitch, one each, in the order of the file (see
    `zones_without_vswitch` for how many). ValueError when they are fewer than needed.
    """
    needed = len(zones_without_vswitch(config))
    if len(free_blocks) < needed:
        raise ValueError(f"{needed} zones name no vSwitch, and only {len(free_blocks)} blocks are given for them")
    blocks = iter(free_blocks)
    return tuple(_zone(zone, blocks) for zone in config.zones)


def zones_without_vswitch(config: ProviderConfig) -> tuple[ZoneId, ...]:
    """Return the zones that are to get a free block, in the order of the file."""
    return tuple(ZoneId(zone.name) for zone in config.zones if not zone.v_switches)


def node_name(zone: ZoneConfig) -> str:
    """Return the name of the zone's Node."""
    return zone.node_name or f"virtual-kubelet-{zone.name}"


def _zone(zone: ZoneConfig, blocks: Iterator[str]) -> Zone:
    named = [(switch.id, switch.cidr) for switch in zone.v_switches] or [("", next(blocks))]
    return Zone(
        id=ZoneId(zone.name),
        cpu=milli(zone.stock.cpu),
        memory=whole(zone.stock.memory),
        ephemeral_storage=whole(zone.stock.ephemeral_storage),
        instances=zone.stock.instances,
        spot_reserve=zone.stock.spot_reserve,
        vswitches=tuple(
            VSwitch(id=VSwitchId(name or f"vsw-{zone.name}-{index}"), cidr=cidr)
            for index, (name, cidr) in enumerate(named)
        ),
    )
