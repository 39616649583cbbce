"""A registry on loopback that asks for a password: distribution, built from its Go module when a test wants it.

The engine takes a registry at 127.0.0.1 without TLS by itself, so nothing of its configuration has to change. A door
stands before the registry: it tells what was asked for, and can be shut.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from provider.cloud.runtime.docker_engine.client import open_client
from provider.cluster.build import Upstream, build_upstreams, cache_root
from provider.model.request import RegistryCredential
from tests.support.carrier import Door, carried

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

REGISTRY = Upstream(
    name="registry",
    module="github.com/distribution/distribution/v3",
    programs={"registry": "github.com/distribution/distribution/v3/cmd/registry"},
)
USER, PASSWORD = "puller", "opensesame"
_HASH = (
    "$2y$04$abcdefghijklmnopqrstuuFuhxWRTXIsURoluSTZ1N4tYaWGn9oOi"  # of the password: the registry takes bcrypt alone
)

_LISTENS = re.compile(rb"listening on 127\.0\.0\.1:(\d+)")


@dataclass
class Registry:
    """The registry behind its door."""

    door: Door

    @property
    def name(self) -> str:
        """`127.0.0.1:port`."""
        return f"127.0.0.1:{self.door.port}"

    @property
    def login(self) -> RegistryCredential:
        return RegistryCredential(self.name, USER, PASSWORD)

    @property
    def docker_config(self) -> bytes:
        """The `.dockerconfigjson` of an imagePullSecret."""
        auth = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        return json.dumps({"auths": {self.name: {"auth": auth}}}).encode()

    def asked(self, method: str, path: str) -> int:
        """How often something was asked for."""
        return sum(line.startswith(f"{method} {path} ") for line in self.door.heard)

    async def hold(self, source: str, repository: str, tag: str = "1") -> str:
        """Have an image of the engine under a name of this registry, and not in the engine; return that name."""
        name = f"{self.name}/{repository}"
        async with open_client() as client:
            await client.images.tag(source, repo=name, tag=tag)
            try:
                auth = {"username": USER, "password": PASSWORD, "serveraddress": self.name}
                async for line in client.images.push(name, auth=auth, tag=tag, stream=True):
                    assert "error" not in line, line
            finally:
                await client.images.delete(f"{name}:{tag}", force=True)
        return f"{name}:{tag}"

    async def forget(self, image: str) -> None:
        """Take a name that was pulled from here out of the engine."""
        async with open_client() as client:
            listed = [one for row in await client.images.list() for one in row.get("RepoTags") or ()]
            if image in listed:
                await client.images.delete(image, force=True)


@asynccontextmanager
async def registry(directory: Path) -> AsyncIterator[Registry]:
    """Run a registry with an empty store, and its door, which is open."""
    built = await asyncio.to_thread(build_upstreams, [REGISTRY], cache_root(), print)
    async with (
        _running(built[REGISTRY.name] / "bin" / "registry", directory) as port,
        carried(port) as door,
    ):
        yield Registry(door)


@asynccontextmanager
async def _running(program: Path, directory: Path) -> AsyncIterator[int]:
    """Run the registry at a port of the machine's choice, which it says itself."""
    (directory / "htpasswd").write_text(f"{USER}:{_HASH}\n")
    config = {
        "version": 0.1,
        "log": {"accesslog": {"disabled": True}, "level": "info"},
        "storage": {"filesystem": {"rootdirectory": str(directory / "store")}},
        "http": {"addr": "127.0.0.1:0"},
        "auth": {"htpasswd": {"realm": "tests", "path": str(directory / "htpasswd")}},
    }
    (directory / "registry.yml").write_text(json.dumps(config))
    process = await asyncio.create_subprocess_exec(
        program,
        "serve",
        directory / "registry.yml",
        stderr=asyncio.subprocess.PIPE,
        env={"OTEL_TRACES_EXPORTER": "none"},
    )
    assert process.stderr is not None
    said = b""
    async with asyncio.TaskGroup() as group:
        try:
            async with asyncio.timeout(20):
                while (found := _LISTENS.search(said)) is None:
                    line = await process.stderr.readline()
                    assert line, f"the registry ended: {said.decode()}"
                    said += line
            draining = group.create_task(process.stderr.read())
            yield int(found[1])
        finally:
            process.terminate()
            await process.wait()
        await draining
