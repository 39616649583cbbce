"""An engine with live-restore that ends while it starts a container: the next one does not know of its process.

Its OCI runtime is runc behind a script that lets the n-th container wait before it begins, as one whose engine has
ended waits.
"""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from provider.clock import SystemClock
from provider.cloud.backend import LogOptions
from provider.cloud.runtime.base import RuntimeFault, Seen
from provider.cloud.runtime.docker_engine.cgroups import host_hierarchies, remove_tree
from provider.cloud.runtime.docker_engine.client import open_client
from provider.cloud.runtime.docker_engine.engine import Engine
from provider.cloud.runtime.docker_engine.host_mounts import mounts_below, unmount
from provider.cloud.runtime.docker_engine.runtime import DockerRuntime
from provider.cluster.processes import wait_until
from provider.model.ids import PodUid
from provider.model.instance import InstancePhase
from tests.integration.docker_engine.conftest import OneNetwork
from tests.support.cloud_worlds import (
    ZONE,
    BackendWorld,
    RuntimeWorld,
    addresses,
    container_status,
    local_backend,
    watched,
)
from tests.support.names import own_name
from tests.support.own_engine import OwnEngine, own_engine

pytestmark = pytest.mark.integration

Worlds = Callable[..., AbstractAsyncContextManager[BackendWorld]]
CLOCK = SystemClock()
SANDBOX, MAIN = 1, 2
"""which start it is of an instance's"""

RUNTIME = """#!/bin/sh
case " $* " in
*" start "*)
    echo >> {root}/starts
    if [ "$(wc -l < {root}/starts)" = "$(cat {root}/held-start)" ]; then
        echo > {root}/held
        (
            while test -e {root}/held; do sleep 0.05; done
            test -e {root}/begin && runc "$@" && echo > {root}/begun
        ) > {root}/log 2>&1 &
        wait  # until it is killed together with containerd
        exit 1
    fi
    ;;
esac
exec runc "$@"
"""


@pytest.fixture
def installation() -> str:
    return own_name("half")


@pytest.fixture
def door(tmp_path: Path) -> Path:
    """The directory by which a test and the OCI runtime talk."""
    directory = tmp_path / "door"
    directory.mkdir()
    (directory / "runtime").write_text(RUNTIME.format(root=directory))
    (directory / "runtime").chmod(0o755)
    return directory


@pytest.fixture
async def engine(tmp_path: Path, door: Path, installation: str) -> AsyncIterator[OwnEngine]:
    """An engine with one network of the zone's blocks, of which nothing is left."""
    options = ["--add-runtime", f"held={door}/runtime", "--default-runtime", "held"]
    async with own_engine(live_restore=True, options=options) as made:
        async with open_client(made.address) as client:
            pool = [{"Subnet": "10.211.0.0/23", "Gateway": "10.211.0.5"}]
            await client.networks.create({"Name": installation, "Driver": "bridge", "IPAM": {"Config": pool}})
        yield made
        if not made.runs:
            await made.start()
        async with open_client(made.address) as client:
            for row in await Engine(client, installation).relist():
                await Engine(client, installation).remove(row["Id"])
            await (await client.networks.get(installation)).delete()
    assert remove_tree(host_hierarchies(), f"zonelet-{installation}")
    for point in mounts_below(tmp_path):
        unmount(point)


@pytest.fixture
def provider(engine: OwnEngine, installation: str, tmp_path: Path) -> Worlds:
    """Start a provider of the same installation, as often as a test wants one."""

    @asynccontextmanager
    async def make() -> AsyncIterator[BackendWorld]:
        networks: Any = OneNetwork(installation)
        async with AsyncExitStack() as stack:
            client = await stack.enter_async_context(open_client(engine.address))
            runtime = DockerRuntime(client, installation, tmp_path, networks, clock=CLOCK)
            below = RuntimeWorld(runtime, ZONE, addresses(), image="busybox:latest", real=True)
            backend = await stack.enter_async_context(local_backend(below, tmp_path, CLOCK))
            yield await stack.enter_async_context(watched(backend, below))

    return make


async def there(file: Path) -> None:
    assert await wait_until(CLOCK, file.exists, 30), file


@asynccontextmanager
async def never_seen_as_failed(world: BackendWorld, uid: PodUid) -> AsyncIterator[None]:
    """Look all the time meanwhile: an attempt that is about to be started must not be taken for one that could not."""
    looks: list[Seen] = []

    async def look() -> None:
        while True:
            with suppress(RuntimeFault):  # the engine begins
                seen = await world.below.runtime.inspect(uid)
                looks.extend([seen] if seen else [])
            await CLOCK.sleep(0.01)

    looking = asyncio.get_running_loop().create_task(look())
    try:
        yield
    finally:
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)
    assert looks
    assert [each for seen in looks for each in seen.containers if each.exited and each.exit_code] == []


def shims(engine: OwnEngine) -> list[str]:
    """The processes of the engine that are left when it has no container."""
    lines = [file.read_bytes() for file in Path("/proc").glob("[0-9]*/cmdline") if file.exists()]
    return [line.decode() for line in lines if b"containerd-shim" in line and str(engine.root).encode() in line]


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"])
@pytest.mark.parametrize("held", [SANDBOX, MAIN], ids=["sandbox", "main"])
async def test_what_had_not_begun_is_started_as_if_nothing_had_been(
    engine: OwnEngine, provider: Worlds, door: Path, held: int, how: signal.Signals
) -> None:
    (door / "held-start").write_text(str(held))
    async with provider() as world:
        request = world.request(seconds=0.5)
        await world.backend.create_instance(request)
        await there(door / "held")
        await engine.end(how)
        (door / "held").unlink()
        await engine.start()
        async with never_seen_as_failed(world, request.uid):
            ended = await world.until_instance(request.uid, lambda one: one.released, 60)
        said = b"".join([piece async for piece in world.backend.logs(request.uid, "main", LogOptions())])
        assert (ended.phase, container_status(ended, "main").restarts, said) == (InstancePhase.SUCCEEDED, 0, b"begun\n")
    assert await wait_until(CLOCK, lambda: not shims(engine), 20), shims(engine)


async def test_what_had_begun_is_ended_and_never_begins_again(engine: OwnEngine, provider: Worlds, door: Path) -> None:
    (door / "held-start").write_text(str(MAIN))
    async with provider() as world:
        request = world.request(seconds=600)
        await world.backend.create_instance(request)
        await there(door / "held")
        await engine.end()
        (door / "begin").touch()
        (door / "held").unlink()
        await there(door / "begun")
        await engine.start()
        ended = await world.until_instance(request.uid, lambda one: one.released, 60)
        assert (ended.phase, container_status(ended, "main").state.exit_code) == (InstancePhase.FAILED, 128)
    assert len((door / "starts").read_text().splitlines()) == MAIN, "no third start"


async def test_what_was_half_started_and_is_deleted_meanwhile_leaves_nothing(
    engine: OwnEngine, provider: Worlds, door: Path
) -> None:
    (door / "held-start").write_text(str(MAIN))
    async with provider() as world:
        request = world.request(seconds=600)
        await world.backend.create_instance(request)
        await there(door / "held")
        await engine.end()
        (door / "held").unlink()
        await world.backend.delete_instance(request.uid, 0)
        await engine.start()
        await world.until_instance(request.uid, lambda one: one.released, 60)
