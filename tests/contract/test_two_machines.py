"""Two providers as their configuration files make them: one with the cloud, one that uses it over TCP with grpcTls.

Certificates, files and sockets are real; what would be the way between two machines is loopback.
"""

from __future__ import annotations

import asyncio
import random  # noqa: TID251 - a seeded value is what the cloud side is given
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from provider.clock import SystemClock
from provider.cloud.backend import LogOptions
from provider.cloud.runtime.simulated import SimulatedRuntime
from provider.cloud_side import open_cloud, tls_files
from provider.cluster.pki import Pair, Pki
from provider.config.load import load
from provider.model.errors import CloudCode, CloudError
from provider.model.instance import InstancePhase
from provider.rpc.server import serve
from tests.support.certificates import self_signed
from tests.support.cloud_worlds import ZONE, BackendWorld, RuntimeWorld, addresses, watched

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from provider.cloud.backend import ElasticBackend
    from provider.config.schema import ProviderConfig

CLOCK = SystemClock()
LISTEN = "0.0.0.0:8999"
"""Beyond loopback: the configuration is refused without grpcTls. The port is any free one in its place."""


@dataclass
class Machines:
    """Both machines' directories, and the authority of the operator who set them up."""

    root: Path

    def __post_init__(self) -> None:
        self.pki = Pki(self.root / "pki", CLOCK)
        self.pki.directory.mkdir()
        self.ca = self.pki.authority("ca")

    def config(self, name: str, pair: Pair, authority: Pair, listen: str = "") -> ProviderConfig:
        """Write a provider's configuration, and read it as `zonelet run --config` does."""
        file = self.root / f"{name}.yaml"
        file.write_text(
            "apiVersion: zonelet.dev/v1alpha1\nkind: ProviderConfig\nname: machines\n"
            f"zones: [{{name: {ZONE.id}}}]\nruntime: {{kind: simulated}}\n"
            f"grpcListen: '{listen}'\n"
            f"grpcTls: {{certificateFile: {pair.certificate}, keyFile: {pair.key}, "
            f"authorityFile: {authority.certificate}}}\n"
        )
        return load(file)

    @asynccontextmanager
    async def cloud(self, *names: str) -> AsyncIterator[str]:
        """The machine with the cloud, whose certificate has these names or addresses; yields its port."""
        found = [each for each in names if each[0].isdigit()]
        pair = self.pki.server(self.ca, "cloud", [each for each in names if each not in found], found)
        config = self.config("cloud", pair, self.ca, LISTEN)
        async with open_cloud(config, self.root / "cloud", "", CLOCK, random.Random(1)) as side:
            ready = asyncio.Event()
            running = asyncio.get_running_loop().create_task(side.run(ready))  # type: ignore[arg-type]
            try:
                await ready.wait()
                async with serve(side.backend, config.grpc_listen.replace("8999", "0"), tls=tls_files(config)) as bound:
                    yield bound.rpartition(":")[2]
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)

    @asynccontextmanager
    async def user(
        self, address: str, pair: Pair | None = None, authority: Pair | None = None
    ) -> AsyncIterator[ElasticBackend]:
        """The other machine: what its provider has of the cloud."""
        config = self.config("user", pair or self.pki.client(self.ca, "user", "provider"), authority or self.ca)
        async with open_cloud(config, self.root / "user", address, CLOCK, random.Random(2)) as side:
            yield side.backend


@pytest.fixture
def machines(tmp_path: Path) -> Machines:
    return Machines(tmp_path)


async def test_an_instance_lives_on_the_other_machine(machines: Machines) -> None:
    below = RuntimeWorld(SimulatedRuntime(CLOCK), ZONE, addresses(), said=lambda *_: b"")
    async with (
        machines.cloud("127.0.0.1") as port,
        machines.user(f"127.0.0.1:{port}") as backend,
        watched(backend, below) as world,
    ):
        await _lives(world)


async def _lives(world: BackendWorld) -> None:
    backend, request = world.backend, world.request(seconds=0.1, code=3)
    await backend.create_instance(request)
    ended = await world.until_instance(request.uid, lambda one: one.released)
    assert (ended.phase, ended.containers[0].state.exit_code) == (InstancePhase.FAILED, 3)
    said = b"".join([piece async for piece in backend.logs(request.uid, "main", LogOptions())])
    assert b"main attempt 0 ended with 3" in said
    await backend.forget_instance(request.uid)
    await world.until(lambda: world.gone(request.uid))
    with pytest.raises(CloudError, match="second time") as caught:
        await backend.create_instance(request)
    assert caught.value.code is CloudCode.TOKEN_CONFLICT


@pytest.mark.parametrize("whose", ["of another authority", "signed by itself", "for serving"])
async def test_a_stranger_is_kept_out(machines: Machines, tmp_path: Path, whose: str) -> None:
    match whose:
        case "of another authority":
            pair = machines.pki.client(machines.pki.authority("other"), "stranger", "provider")
        case "signed by itself":
            pair = Pair(*self_signed(tmp_path, "stranger"))
        case _:
            pair = machines.pki.server(machines.ca, "stranger", ["stranger"], [])
    async with machines.cloud("127.0.0.1") as port, machines.user(f"127.0.0.1:{port}", pair) as backend:
        await _is_refused(backend)


@pytest.mark.parametrize("why", ["another's name", "another authority"])
async def test_a_cloud_that_is_not_the_one_meant_learns_nothing(machines: Machines, why: str) -> None:
    names = ["cloud.example"] if why == "another's name" else ["127.0.0.1"]
    authority = machines.pki.authority("other") if why == "another authority" else None
    async with (
        machines.cloud(*names) as port,
        machines.user(f"127.0.0.1:{port}", authority=authority) as backend,
    ):
        await _is_refused(backend)


async def _is_refused(backend: ElasticBackend) -> None:
    with pytest.raises(CloudError) as caught:
        await backend.describe_zones()
    assert caught.value.code is CloudCode.UNAVAILABLE
    health = await backend.health()
    assert (health.healthy, health.reason) == (False, "CloudUnavailable")
