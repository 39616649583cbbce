"""What an installation has on the engine and its host, as plain names: two of these can be compared.

Gateways and networks count too: a test compares before and after, and what was there before may stay.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

from provider.clock import SystemClock
from provider.cloud.runtime.docker_engine.cgroups import host_hierarchies
from provider.cloud.runtime.docker_engine.client import open_client
from provider.cloud.runtime.docker_engine.engine import Engine
from provider.cloud.runtime.docker_engine.host_mounts import mounts_below
from provider.cloud.runtime.docker_engine.labels import INSTALLATION
from provider.model.errors import CloudError

if TYPE_CHECKING:
    from collections.abc import Collection

    from tests.support.installation import Lab

CLOCK = SystemClock()


@dataclass(frozen=True)
class Footprint:
    """Names of what is there, and how many addresses of each zone are in use."""

    containers: frozenset[str]
    endpoints: frozenset[str]
    networks: frozenset[str]
    addresses: frozenset[tuple[str, int]]
    sold: frozenset[tuple[str, int, int]]
    """zone, milli-CPU and bytes that instances have"""
    directories: frozenset[str]
    cgroups: frozenset[str]
    mounts: frozenset[str]

    def beyond(self, other: Footprint) -> dict[str, list[object]]:
        """Return what differs from the other, by kind; empty when nothing does."""
        pairs = {field.name: (getattr(self, field.name), getattr(other, field.name)) for field in fields(self)}
        return {name: sorted(mine ^ theirs) for name, (mine, theirs) in pairs.items() if mine != theirs}

    def without(self, uids: Collection[str]) -> Footprint:
        """Leave out the containers of these instances, their cgroups and mounts."""

        def others(names: frozenset[str]) -> frozenset[str]:
            return frozenset(name for name in names if not any(uid in name for uid in uids))

        return replace(
            self, containers=others(self.containers), cgroups=others(self.cgroups), mounts=others(self.mounts)
        )


async def footprint(lab: Lab) -> Footprint:
    """Look at engine, host and elastic API; the provider has to run."""
    name, state = lab.installation.name, lab.installation.state
    async with open_client() as client:
        rows = await Engine(client, name).relist()
        listed = await client.networks.list(filters={"label": [f"{INSTALLATION}={name}"]})
        endpoints: set[str] = set()
        for each in listed:
            network = await (await client.networks.get(each["Id"])).show()
            endpoints |= {f"{network['Name']}/{one['Name']}" for one in (network.get("Containers") or {}).values()}
    async with lab.cloud() as cloud:
        zones = await cloud.describe_zones()
    instances = state / "instances"
    return Footprint(
        containers=frozenset(row["Names"][0].lstrip("/") for row in rows),
        endpoints=frozenset(endpoints),
        networks=frozenset(each["Name"] for each in listed),
        addresses=frozenset((one.id, one.used) for zone in zones for one in zone.vswitches),
        sold=frozenset((zone.zone.id, zone.cpu_used, zone.memory_used) for zone in zones),
        directories=frozenset(each.name for each in instances.iterdir()) if instances.exists() else frozenset(),
        cgroups=frozenset(_cgroups(f"zonelet-{name}")),
        mounts=frozenset(str(each) for each in mounts_below(state)),
    )


async def same_as(lab: Lab, before: Footprint, seconds: float, *, apart_from: Collection[str] = ()) -> None:
    """Wait until the installation has on engine and host what it had before, no more and no less.

    The containers of the instances `apart_from` (UIDs) may be others: they may have been restarted.
    """
    deadline, left = CLOCK.now() + seconds, "nothing was seen"
    while CLOCK.now() < deadline:
        try:
            found = (await footprint(lab)).without(apart_from).beyond(before.without(apart_from))
        except CloudError as error:  # the provider begins
            left = error.message
        else:
            if not found:
                return
            left = str(found)
        await CLOCK.sleep(0.5)
    raise AssertionError(f"left over after {seconds:.0f} s: {left}")


def _cgroups(top: str) -> set[str]:
    """Every cgroup of the installation, in any hierarchy, by either of the engine's cgroup drivers."""
    found: set[str] = set()
    for root in host_hierarchies().all():
        for parent in (root / top, root / f"{top.replace('-', '_')}.slice"):
            if parent.is_dir():
                found |= {path for path, _, _ in os.walk(parent) if path != str(parent)}  # others go while it is walked
    return found
