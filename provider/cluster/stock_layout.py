"""Where the stock node's things are, and the configurations of its programs. Pure: names, paths and documents.

Everything is below `<state>/stock`: containerd's content, sockets and network namespaces, kubelet's directory, pods'
logs. What programs put elsewhere by a name that cannot be configured is told in stock_removal.py, which takes it away.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "CONTAINERD",
    "KUBELET",
    "PROCESSES",
    "STOCK_NODE",
    "STOCK_TAINT",
    "StockLayout",
    "StockRecord",
    "cni_config",
    "containerd_config",
    "kubelet_config",
]

Json = dict[str, Any]

STOCK_NODE = "stock"
STOCK_TAINT = "zonelet.dev/stock"
"""Key of the node's taint (NoSchedule) and of its label: nothing lands there unless it asks for it."""
CONTAINERD = "stock-containerd"
KUBELET = "stock-kubelet"
PROCESSES = (CONTAINERD, KUBELET)
PAUSE_IMAGE = "zonelet/pause:1"
_BRIDGE_HASH = 8


class StockRecord(msgspec.Struct, frozen=True):
    """What was chosen once and stays: pods' block, and the node's own address and port.

    `rules`: arguments of `iptables` that were added, without the act and its chain's place; `sysctls`: values of the
    kernel that kubelet sets for its own ends, as they were before.
    """

    pod_cidr: str
    address: str
    port: int
    rules: list[list[str]] = []
    sysctls: dict[str, str] = {}


@dataclass(frozen=True)
class StockLayout:
    """The stock node of the installation `name`, whose state directory is `state`."""

    name: str
    state: Path

    @property
    def root(self) -> Path:
        """Return the directory that holds everything of the node."""
        return self.state / "stock"

    @property
    def record(self) -> Path:
        """Return the file of the StockRecord."""
        return self.root / "stock.json"

    @property
    def socket(self) -> Path:
        """Return containerd's socket."""
        return self.root / "containerd.sock"

    @property
    def tasks(self) -> Path:
        """Return where containerd keeps a directory for each running container."""
        return self.root / "run" / "io.containerd.runtime.v2.task" / "k8s.io"

    @property
    def logs(self) -> Path:
        """Return where pods' logs are."""
        return self.root / "pods"

    @property
    def cni(self) -> Path:
        """Return the directory of the CNI configuration."""
        return self.root / "cni"

    @property
    def addresses(self) -> Path:
        """Return where the CNI plugin host-local keeps who has which address."""
        return self.root / "addresses"

    @property
    def kubelet(self) -> Path:
        """Return kubelet's own directory."""
        return self.root / "kubelet"

    @property
    def bridge(self) -> str:
        """Return the name of pods' bridge, which is that of their CNI network too (15 characters at most)."""
        return "zls-" + hashlib.sha256(self.name.encode()).hexdigest()[:_BRIDGE_HASH]

    @property
    def cgroup(self) -> str:
        """Return the path of the node's own cgroup: two kubelets below one would clean up each other's pods."""
        return f"stock-node-{self.name}"


def containerd_config(layout: StockLayout, plugins: Path) -> str:
    """Return containerd's config.toml (format 2, which 1.6 to 2.x read)."""
    root = layout.root
    return "\n".join(
        [
            "version = 2",
            f'root = "{root / "containerd"}"',
            f'state = "{root / "run"}"',
            'disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.internal.v1.tracing"]',
            "[grpc]",
            f'address = "{layout.socket}"',
            '[plugins."io.containerd.grpc.v1.cri"]',
            f'sandbox_image = "{PAUSE_IMAGE}"',
            'stream_server_address = "127.0.0.1"',
            "restrict_oom_score_adj = true  # without CAP_SYS_RESOURCE no sandbox could start",
            "netns_mounts_under_state_dir = true",
            '[plugins."io.containerd.grpc.v1.cri".cni]',
            f'bin_dir = "{plugins}"',
            f'conf_dir = "{layout.cni}"',
            '[plugins."io.containerd.grpc.v1.cri".containerd]',
            'snapshotter = "overlayfs"',
            'default_runtime_name = "runc"',
            '[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]',
            'runtime_type = "io.containerd.runc.v2"',
            '[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]',
            "SystemdCgroup = false",
            "",
        ]
    )


def cni_config(layout: StockLayout, record: StockRecord) -> Json:
    """Return pods' network: a bridge of their own with the host as gateway; the way out is stock_network.py's."""
    return {
        "cniVersion": "1.0.0",
        "name": layout.bridge,
        "plugins": [
            {
                "type": "bridge",
                "bridge": layout.bridge,
                "isGateway": True,
                "hairpinMode": True,
                "ipam": {
                    "type": "host-local",
                    "dataDir": str(layout.addresses),
                    "ranges": [[{"subnet": record.pod_cidr}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": True}, "snat": True},
        ],
    }


def kubelet_config(layout: StockLayout, record: StockRecord, client_ca: Path) -> Json:
    """Return the KubeletConfiguration: upstream's defaults but for places, credentials, what the machine forbids."""
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(client_ca)},
        },
        "authorization": {"mode": "Webhook"},
        "rotateCertificates": True,
        "serverTLSBootstrap": True,
        "address": record.address,
        "port": record.port,
        "healthzPort": 0,
        "containerRuntimeEndpoint": f"unix://{layout.socket}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{layout.cgroup}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "oomScoreAdj": 0,  # lowering it needs CAP_SYS_RESOURCE
        "makeIPTablesUtilChains": False,  # nothing of ours needs them, and they would stay on the host
        "podLogsDir": str(layout.logs),
        "volumePluginDir": str(layout.root / "volume-plugins"),
        # The disk is a developer's, who likes it full; an image that was collected cannot be pulled again.
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,
        "registerWithTaints": [{"key": STOCK_TAINT, "effect": "NoSchedule"}],
    }
