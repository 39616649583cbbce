"""Looks at what this machine and the cluster at hand have and lack, and says how to get it. It changes nothing."""

from __future__ import annotations

import asyncio
import shutil
from typing import TYPE_CHECKING

from aiodocker.exceptions import DockerError
from docker.errors import DockerException

from provider.cloud.addresses.free_blocks import Occupied, occupied
from provider.cloud.runtime.base import RuntimeFault
from provider.cloud.runtime.docker_engine.client import open_client
from provider.cloud.runtime.docker_engine.host_routes import host_networks
from provider.cloud.runtime.docker_engine.used_blocks import used_blocks
from provider.cluster.build import cache_root, missing_programs
from provider.cluster.doctor_cluster import check_cluster
from provider.cluster.doctor_engine import check_engine, check_limits, check_locality, check_root, no_engine
from provider.cluster.doctor_finding import Finding, State
from provider.cluster.doctor_network import (
    check_bridge,
    check_firewall,
    check_ports,
    check_registry,
    check_subnets,
    free_space,
)
from provider.cluster.engine import open_engine
from provider.cluster.images import missing_images
from provider.cluster.network_facts import network_facts
from provider.cluster.provider_config import given_config, installed_config

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from provider.cluster.installation import Installation
    from provider.config.schema import ProviderConfig

__all__ = ["Finding", "State", "examine", "in_order"]

_ANSWER_SECONDS = 20.0


async def examine(
    installation: Installation, config: Path | None, subnets: Iterable[str], ports: Iterable[int]
) -> list[Finding]:
    """Look at machine, engine, network and cluster. `subnets` and `ports` must be free beside those of the config.

    ConfigError for a bad configuration.
    """
    chosen, _ = given_config(config, installation.name)
    if config is None:
        chosen = installed_config(installation) or chosen
    wanted = [*subnets, *_blocks(chosen)]
    engine, used = await _engine(installation, chosen)
    return [
        check_root(),
        *engine,
        await asyncio.to_thread(_programs),
        check_subnets(wanted, used),
        free_space(len(chosen.zones) + 1, used, up=installation.record() is not None),
        check_ports([*ports, *_own_ports(chosen)] if installation.provider.pid() is None else ports),
        check_bridge(),
        check_firewall(),
        await asyncio.to_thread(check_registry),
        *await check_cluster(installation),
    ]


def _own_ports(config: ProviderConfig) -> list[int]:
    listen = config.grpc_listen
    return [int(listen.rpartition(":")[2])] if listen and not listen.startswith("unix:") else []


def in_order(findings: Sequence[Finding]) -> bool:
    """Say whether nothing is missing that is needed."""
    return all(each.state is not State.MISSING for each in findings)


async def _engine(installation: Installation, chosen: ProviderConfig) -> tuple[list[Finding], Sequence[Occupied]]:
    """Return what is found of the engine, and the blocks in use; those of the host alone when no engine answers."""
    host = chosen.runtime.docker.host
    try:
        async with asyncio.timeout(_ANSWER_SECONDS), open_client(host) as client:
            info, version = await client.system.info(), await client.version()
            findings = [
                check_engine(info, version),
                check_locality(str(client.docker_host), info),
                *check_limits(info),
                await asyncio.to_thread(_images, host),
                *await network_facts(client, installation.name, _blocks(chosen)),
            ]
            return findings, await used_blocks(client, installation.name)
    except (RuntimeFault, DockerError, DockerException, OSError, ValueError) as error:
        told = str(error) or f"no answer in {_ANSWER_SECONDS:.0f} s"
        alone = [(each.cidr, f"interface {each.interface}") for each in host_networks()]
        return [no_engine(told)], occupied(alone)


def _blocks(config: ProviderConfig) -> list[str]:
    return [each.cidr for zone in config.zones for each in zone.v_switches]


def _images(host: str) -> Finding:
    client = open_engine(host)
    try:
        missing = missing_images(client)
    finally:
        client.close()
    means = "the local cluster's pods run from images that are made here, without a registry"
    if not missing:
        return Finding("local images", State.OK, "all are there", means)
    mirror = "made by `zonelet up` from Debian packages; it needs a Debian mirror in reach"
    return Finding("local images", State.NOTE, f"{len(missing)} are not made yet", means, mirror)


def _programs() -> Finding:
    means = "the local cluster's programs are built once from source, and kept"
    missing = missing_programs(cache_root())
    if not missing:
        return Finding("local programs", State.OK, f"built, in {cache_root()}", means)
    go = shutil.which("go")
    source = f"by {go}" if go else "by a Go toolchain from the Python package index"
    advice = f"built by `zonelet up` in about 10 minutes {source}; it needs a Go module proxy in reach"
    return Finding("local programs", State.NOTE, f"not built yet: {', '.join(missing)}", means, advice)
