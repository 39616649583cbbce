"""A cluster built as kind builds one: its whole control plane in one container, on a Docker network of its own.

The API server is published on 127.0.0.1 of the host; the network's block is the engine's choice. The container is a
busybox with the built programs mounted read-only; flags and credentials are those of LocalCluster.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import subprocess
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from provider.clock import SystemClock
from provider.cluster.build import build_all, cache_root
from provider.cluster.build_command import tail
from provider.cluster.engine import open_engine
from provider.cluster.local import CONTROL_PLANE, LocalCluster, _answers, _context
from provider.cluster.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from provider.cluster.build import Binaries

_READY_SECONDS = 90.0


@dataclass(frozen=True)
class KindCluster:
    """A cluster that is up. `name` is the container's and the network's."""

    name: str
    address: str
    subnet: str
    local: LocalCluster
    binaries: Binaries

    @property
    def kubeconfig(self) -> Path:
        """The administrator's: https://127.0.0.1:<published port>."""
        return self.local.kubeconfig

    def run_kubectl(self, *arguments: str, seconds: float = 60) -> subprocess.CompletedProcess[str]:
        """Run upstream's kubectl as administrator."""
        return subprocess.run(
            [str(self.binaries.kubectl), *arguments],
            env={**os.environ, "KUBECONFIG": str(self.kubeconfig)},
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds,
        )

    def kubectl(self, *arguments: str) -> str:
        """Run it; return its output, AssertionError with its words when it fails."""
        done = self.run_kubectl(*arguments)
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout


@contextmanager
def kind_cluster(name: str, state: Path) -> Iterator[KindCluster]:
    """Bring it up below `state`, and take container and network away again."""
    binaries = build_all(cache_root(), print)
    local = LocalCluster(name, state, SystemClock())
    (state / "run").mkdir(parents=True)
    port = local._ports()["kube-apiserver"]
    waiting = f"until [ -f {state}/start ]; do sleep 0.1; done; exec sh {state}/start"
    read_only = {
        str(program.parent): {"bind": str(program.parent), "mode": "ro"} for program in (binaries.kube, binaries.etcd)
    }
    with closing(open_engine()) as engine:
        network = engine.networks.create(name, driver="bridge")
        container = None
        try:
            container = engine.containers.create(
                "busybox:1.36",
                ["sh", "-c", waiting],
                name=name,
                network=name,
                ports={f"{port}/tcp": ("127.0.0.1", port)},
                volumes={str(state): {"bind": str(state), "mode": "rw"}, **read_only},
            )
            container.start()
            container.reload()
            address = container.attrs["NetworkSettings"]["Networks"][name]["IPAddress"]
            network.reload()
            subnet = network.attrs["IPAM"]["Config"][0]["Subnet"]
            cluster = KindCluster(name, address, subnet, local, binaries)
            _start(cluster, port)
            yield cluster
        finally:
            if container is not None:
                container.remove(force=True, v=True)
            network.remove()


def _start(cluster: KindCluster, port: int) -> None:
    """Give the container what it waits for, and wait until the API server serves."""
    local, binaries = cluster.local, cluster.binaries
    ports, credentials = local._ports(), local._credentials(cluster.address)
    local._kubeconfigs(credentials, ports)
    lines = []
    for name in CONTROL_PLANE:
        program = binaries.etcd if name == "etcd" else binaries.control_plane(name)
        argv = [str(program), *local._arguments(name, ports, credentials, cluster.address)]
        # Started anew when it ends, as a static pod is: who comes before etcd has to wait.
        lines.append(f"while :; do {shlex.join(argv)}; sleep 0.5; done >{local.state}/run/{name}.log 2>&1 &")
    part = local.state / "start.part"
    part.write_text("\n".join([*lines, "wait", ""]))
    part.replace(local.state / "start")
    answers = partial(
        _answers, f"https://127.0.0.1:{port}/readyz", _context(credentials.ca, credentials, "kube-apiserver")
    )
    if not asyncio.run(wait_until(local.clock, answers, _READY_SECONDS)):
        raise TimeoutError(f"the API server is not ready: {tail(local.state / 'run' / 'kube-apiserver.log')}")
