"""One stock node for the local cluster: upstream's kubelet on a containerd of its own, beside the virtual ones.

It is what virtual nodes are compared with, and where the provider's own Deployment can run. It joins as any kubelet
does: with a bootstrap credential it asks for its client certificate, and its serving certificate is approved by the
cluster's approver. Nothing is scheduled to it that does not tolerate its taint.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import yaml

from provider.cloud.addresses.free_blocks import AddressClashError, choose_blocks
from provider.cloud.runtime.docker_engine.cgroups import host_hierarchies
from provider.cloud.runtime.docker_engine.used_blocks import used_blocks
from provider.cluster.build_command import tail
from provider.cluster.local import SERVICE_CIDR
from provider.cluster.manifests import Manifests, wait_for
from provider.cluster.pki import Pki, write_kubeconfig
from provider.cluster.processes import Process
from provider.cluster.provider_daemon import is_ready
from provider.cluster.steps import SetupError
from provider.cluster.stock_layout import (
    CONTAINERD,
    KUBELET,
    PROCESSES,
    STOCK_NODE,
    STOCK_TAINT,
    StockLayout,
    StockRecord,
    cni_config,
    containerd_config,
    kubelet_config,
)
from provider.cluster.stock_network import add_routes, add_rules, has_chain, network_rules
from provider.cluster.stock_removal import answers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aiodocker import Docker

    from provider.cluster.installation import Installation
    from provider.cluster.stock_programs import StockPrograms
    from provider.kube.client import Json, KubeApi

__all__ = ["StockNode", "restore_sysctls"]

_READY_SECONDS = 120.0
_CONTAINERD_SECONDS = 30.0
_CERTIFICATE_SECONDS = 60.0
_BOOTSTRAP_USER = "zonelet-stock-bootstrap"
_BOOTSTRAP_GROUP = "system:bootstrappers"
_BOOTSTRAP_ROLES = ("system:node-bootstrapper", "system:certificates.k8s.io:certificatesigningrequests:nodeclient")
_ADMINISTRATORS = "/usr/local/sbin:/usr/sbin:/sbin"
_SYSCTLS = (
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
)
"""What kubelet sets when it starts (pkg/kubelet/cm/container_manager_linux.go, setupKernelTunables)."""
_PROC_SYS = Path("/proc/sys")


@dataclass(frozen=True)
class StockNode:
    """The stock node of an installation."""

    installation: Installation

    @property
    def layout(self) -> StockLayout:
        """Return where its things are."""
        return StockLayout(self.installation.name, self.installation.state)

    def exists(self) -> bool:
        """Say whether there is one, running or not."""
        return self.layout.root.exists()

    def process(self, name: str) -> Process:
        """Return one of PROCESSES."""
        return Process(name, self.installation.state / "run")

    def record(self) -> StockRecord | None:
        """Return what was chosen for it; None when nothing was yet."""
        try:
            return msgspec.json.decode(self.layout.record.read_bytes(), type=StockRecord)
        except FileNotFoundError:
            return None

    async def prepare(self, client: Docker, address: str, zones: Sequence[str], server: str) -> StockRecord:
        """Choose pods' block and the port, once, and make rules, cgroup and configurations.

        `address` is this host's in the cluster's network, `zones` are the blocks that pods of the zones have, `server`
        is the API server's own address:port. SetupError when no block is free, BuildError for a refused rule.
        """
        record = self.record() or await self._choose(client, address, zones)
        rules = network_rules(record.pod_cidr, self.layout.bridge, _service_address(), server, _forward_chain())
        record = msgspec.structs.replace(record, address=address, rules=rules)
        self._write(self.layout.record, msgspec.json.encode(record))  # before: `down` goes by it
        add_rules(rules)
        for hierarchy in host_hierarchies().all():
            (hierarchy / self.layout.cgroup).mkdir(exist_ok=True)
        return record

    async def start_containerd(self, programs: StockPrograms) -> None:
        """Start containerd unless it runs, and wait until it answers. SetupError with its last words."""
        layout, process = self.layout, self.process(CONTAINERD)
        record = self._record()
        self._write(layout.root / "containerd.toml", containerd_config(layout, programs.plugins).encode())
        self._write(layout.cni / "10-stock.conflist", msgspec.json.encode(cni_config(layout, record)))
        process.start([str(programs.containerd), "--config", str(layout.root / "containerd.toml")], _environment())
        await process.ready(self.installation.clock, partial(answers, layout.socket), _CONTAINERD_SECONDS)

    async def start_kubelet(self, programs: StockPrograms, api: KubeApi) -> None:
        """Start kubelet unless it runs, and wait until the Node is Ready and its port serves. SetupError if not."""
        layout, process, clock = self.layout, self.process(KUBELET), self.installation.clock
        await Manifests(api).apply(_bootstrap_bindings())
        pki = Pki(self.installation.state / "pki", clock)
        ca = pki.authority("ca")
        bootstrap = pki.client(ca, "stock-bootstrap", _BOOTSTRAP_USER, [_BOOTSTRAP_GROUP])
        write_kubeconfig(layout.root / "bootstrap.kubeconfig", self.server(), ca, bootstrap, STOCK_NODE)
        record = self._record()
        config = kubelet_config(layout, record, ca.certificate)
        self._write(layout.root / "kubelet.yaml", yaml.safe_dump(config, sort_keys=False).encode())
        options: Mapping[str, object] = {
            "config": layout.root / "kubelet.yaml",
            "kubeconfig": layout.root / "kubelet.kubeconfig",
            "bootstrap-kubeconfig": layout.root / "bootstrap.kubeconfig",
            "cert-dir": layout.root / "pki",
            "root-dir": layout.kubelet,
            "hostname-override": STOCK_NODE,
            "node-ip": record.address,
            "node-labels": f"{STOCK_TAINT}=",
        }
        argv = [str(programs.kubelet), *(f"--{name}={value}" for name, value in options.items())]
        process.start(argv, _environment())
        path = f"/api/v1/nodes/{STOCK_NODE}"
        try:
            await wait_for(api, path, is_ready, clock=clock, seconds=_READY_SECONDS)
        except TimeoutError:
            raise SetupError(
                f"the stock node is not Ready after {_READY_SECONDS:.0f} s", tail(process.log), f"read {process.log}"
            ) from None
        serving = layout.root / "pki" / "kubelet-server-current.pem"  # without it no log can be read
        await process.ready(clock, serving.exists, _CERTIFICATE_SECONDS)
        await api.patch(path, {"spec": {"podCIDR": record.pod_cidr, "podCIDRs": [record.pod_cidr]}}, "strategic")

    def connect_zones(self, nodes: Sequence[Json], blocks: Mapping[str, Sequence[str]]) -> None:
        """Lead this host, and so the node's pods, to zones' pods: each node's blocks (CIDR) by its InternalIP."""
        for node in nodes:
            addresses = node["status"].get("addresses") or ()
            router = next((each["address"] for each in addresses if each["type"] == "InternalIP"), None)
            if router is not None:
                add_routes(dict.fromkeys(blocks.get(node["metadata"]["name"], ()), router))

    def status(self) -> dict[str, int | None]:
        """Return each process's pid, None for one that does not run."""
        return {name: self.process(name).pid() for name in PROCESSES}

    def server(self) -> str:
        """Return the API server's URL as the administrator's kubeconfig has it."""
        document = yaml.safe_load(self.installation.local.kubeconfig.read_text())
        return str(document["clusters"][0]["cluster"]["server"])

    async def stop_processes(self) -> None:
        """Stop kubelet and containerd; their pods' containers go on."""
        for name in reversed(PROCESSES):
            await self.process(name).stop(self.installation.clock)

    async def _choose(self, client: Docker, address: str, zones: Sequence[str]) -> StockRecord:
        services = [(SERVICE_CIDR, "the local cluster's services")]
        try:
            used = await used_blocks(client, "", services)  # this installation's own networks are in use too
            (block,) = choose_blocks(1, zones, used)
        except AddressClashError as error:
            raise SetupError(
                "the stock node's pods have no addresses",
                "; ".join(error.mistakes),
                "give up a network, run this again",
            ) from error
        port = _free_port(address)
        before = {name: text for name in _SYSCTLS if (text := _sysctl(name))}
        return StockRecord(block, address, port, sysctls=before)

    def _record(self) -> StockRecord:
        record = self.record()
        if record is None:
            raise RuntimeError("prepare comes first")
        return record

    @staticmethod
    def _write(path: Path, content: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def _free_port(address: str) -> int:
    """Return a port of this host's address that nothing listens at. SetupError when the address is not this host's."""
    try:
        with socket.create_server((address, 0)) as free:
            port: int = free.getsockname()[1]
            return port
    except OSError as error:
        raise SetupError(
            f"the stock node cannot have the address {address}",
            f"it is that of the engine's host in the cluster's network, and here: {error}",
            "run this on the machine that the Docker engine runs on, or leave --with-stock-node out",
        ) from error


def restore_sysctls(values: Mapping[str, str]) -> None:
    """Give the kernel back the values that it had before kubelet came."""
    for name, text in values.items():
        with suppress(OSError):  # a container's kernel lets nobody write them, kubelet neither
            (_PROC_SYS / name).write_text(text)


def _sysctl(name: str) -> str:
    try:
        return (_PROC_SYS / name).read_text().strip()
    except OSError:
        return ""


def _bootstrap_bindings() -> list[Json]:
    """Return what lets the bootstrap credential ask for a node's certificate, and have it approved."""
    rbac = "rbac.authorization.k8s.io"
    return [
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": f"{_BOOTSTRAP_USER}-{number}"},
            "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": role},
            "subjects": [{"apiGroup": rbac, "kind": "Group", "name": _BOOTSTRAP_GROUP}],
        }
        for number, role in enumerate(_BOOTSTRAP_ROLES)
    ]


def _service_address() -> str:
    return str(ip_network(SERVICE_CIDR)[1])


def _forward_chain() -> str:
    return "DOCKER-USER" if has_chain("DOCKER-USER") else "FORWARD"


def _environment() -> dict[str, str]:
    return {**os.environ, "PATH": f"{os.environ.get('PATH', '')}:{_ADMINISTRATORS}"}
