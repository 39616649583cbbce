"""Limits that hold: a container's own, its instance's, and the installation's share of the host."""

import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from provider.cloud.runtime.base import RunSpec, SandboxSpec, SeenContainer
from provider.cloud.runtime.docker_engine.cgroups import Hierarchies, child_names, host_hierarchies
from provider.cloud.runtime.docker_engine.runtime import DockerRuntime, DockerSettings
from provider.model.ids import PodUid

pytestmark = pytest.mark.integration

UID = PodUid("u-1")
MIB = 2**20
EAT = "exec tail /dev/zero"
Specs = Callable[..., RunSpec]
Sandboxes = Callable[..., SandboxSpec]
Ended = Callable[..., Awaitable[SeenContainer]]


def read(name_v1: str, controller: str, name_v2: str, path: str) -> str:
    found: Hierarchies = host_hierarchies()
    root = found.unified if found.is_v2 else found.v1[controller]
    assert root is not None
    return (Path(root) / path / (name_v2 if found.is_v2 else name_v1)).read_text().strip()


async def test_a_container_that_takes_too_much_is_killed(
    runtime: DockerRuntime, sandbox_spec: Sandboxes, shell: Specs, ended: Ended
) -> None:
    await runtime.create_sandbox(sandbox_spec())
    await runtime.start_container(shell(EAT, memory_limit=16 * MIB))
    end = await ended()
    assert (end.oom_killed, end.exit_code) == (True, 137)


async def test_an_instance_that_takes_too_much_is_killed(
    runtime: DockerRuntime, sandbox_spec: Sandboxes, shell: Specs, ended: Ended
) -> None:
    await runtime.create_sandbox(sandbox_spec(memory=24 * MIB))
    await runtime.start_container(shell(EAT))
    end = await ended()
    assert (end.oom_killed, end.exit_code) == (True, 137)


async def test_cgroups_of_the_installation_and_its_instances(
    runtime: DockerRuntime, installation: str, sandbox_spec: Sandboxes, shell: Specs
) -> None:
    root = f"zonelet-{installation}"
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    cap = int(read("memory.limit_in_bytes", "memory", "memory.max", root))
    assert 0.75 * total < cap <= 0.8 * total
    quota = read("cpu.cfs_quota_us", "cpu", "cpu.max", root).split()[0]
    assert int(quota) == ((os.cpu_count() or 1) - 0.5) * 100_000
    await runtime.create_sandbox(sandbox_spec(cpu=64_000, memory=512 * MIB))
    await runtime.start_container(shell("sleep 600", cpu_limit=32_000, cpu_request=250))
    await runtime.start_container(shell("sleep 600", name="small", cpu_limit=100))
    assert read("memory.limit_in_bytes", "memory", "memory.max", f"{root}/{UID}") == str(512 * MIB)
    assert read("cpu.cfs_quota_us", "cpu", "cpu.max", f"{root}/{UID}").split()[0] == quota
    seen = await runtime.inspect(UID)
    assert seen is not None
    quotas = {
        one.name: read(
            "cpu.cfs_quota_us", "cpu", "cpu.max", f"{root}/{UID}/{one.container_id.removeprefix('docker://')}"
        ).split()[0]
        for one in seen.containers
    }
    assert quotas == {"main": quota, "small": "10000"}
    assert child_names(host_hierarchies(), root) == [UID]
    for name in ("main", "small"):
        await runtime.stop_container(UID, name, 0, 0)
    await runtime.release_sandbox(UID)
    assert child_names(host_hierarchies(), root) == []


async def test_pressure_is_told_near_the_cap(
    make_runtime: Callable[..., Any], sandbox_spec: Sandboxes, shell: Specs
) -> None:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    runtime: DockerRuntime = await make_runtime(settings=DockerSettings(memory_share=64 * MIB / total))
    await runtime.create_sandbox(sandbox_spec())
    assert await runtime.pressure() == ""
    await runtime.start_container(shell("head -c 63000000 /dev/zero | tail | sleep 600"))
    logs = ""
    while not logs:
        logs = await runtime.pressure()
    assert "of the 0.1 GiB that they may have on the engine's host" in logs


async def test_a_lower_share_is_taken_over_after_a_restart(
    make_runtime: Callable[..., Any], installation: str, sandbox_spec: Sandboxes, shell: Specs
) -> None:
    first: DockerRuntime = await make_runtime()
    await first.create_sandbox(sandbox_spec(cpu=2000))
    await first.start_container(shell("sleep 600", cpu_limit=2000))
    cores = os.cpu_count() or 1
    await make_runtime(settings=DockerSettings(cpu_reserve=cores - 0.5))
    assert read("cpu.cfs_quota_us", "cpu", "cpu.max", f"zonelet-{installation}").split()[0] == "50000"
