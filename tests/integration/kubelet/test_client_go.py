"""A program on client-go, of the control plane's version, against our port and a container of the real engine."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

import pytest

from provider.cluster.build import KUBERNETES, cache_root, local_sources
from provider.cluster.build_command import run
from provider.cluster.build_toolchain import find_go
from tests.integration.kubelet.test_docker_streams import running

pytestmark = [pytest.mark.integration, pytest.mark.slow]

SOURCE = Path(__file__).with_name("client") / "main.go"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build it in the Kubernetes module of deploy/local, whose go.sum pins client-go."""
    directory = tmp_path_factory.mktemp("client")
    for name in ("go.mod", "go.sum"):
        shutil.copyfile(local_sources() / KUBERNETES.name / name, directory / name)
    shutil.copyfile(SOURCE, directory / SOURCE.name)
    go = find_go(cache_root(), local_sources() / "toolchain.txt", print)
    command = [str(go.go), "build", "-mod=readonly", f"-tags={KUBERNETES.tags}", "-trimpath", "-buildvcs=false"]
    run(
        [*command, "-o", "client", "."],
        what="building the test's client",
        log=directory / "build.log",
        timeout=600,
        next_step="read the log",
        cwd=directory,
        env=go.env,
    )
    return directory / "client"


@pytest.mark.timeout(900)
@pytest.mark.parametrize("straight", [False, True], ids=["translated", "straight"])
@pytest.mark.parametrize("way", ["spdy", "websocket"])
async def test_client_go(on_node: Any, client: Path, way: str, straight: bool) -> None:
    features = ("ExtendWebSocketsToKubelet",) if straight else ()
    script = "nc -ll -p 8080 -e cat & while read line; do echo heard $line; done"
    name = f"client-{way}-{straight}".lower()
    async with running(script, OpenStdin=True) as cloud, on_node(name, *features, cloud=cloud) as node:
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            str(client), str(node.kubeconfig), node.name, "p", way, stdout=pipe, stderr=pipe
        )
        async with asyncio.timeout(90):
            out, err = await process.communicate()
        assert (process.returncode, out) == (0, b"ok\n"), err.decode()
