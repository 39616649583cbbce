"""metrics-server, upstream's, built from source: what `kubectl top` asks. Nothing here starts it; a test does.

It reads /metrics/resource of every kubelet port, this project's like any other's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from provider.cluster.build import Upstream, build_upstreams

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_MODULE = "sigs.k8s.io/metrics-server"

METRICS_SERVER = Upstream(
    name="metrics-server",
    module=_MODULE,
    programs={"metrics-server": f"{_MODULE}/cmd/metrics-server"},
    stamps=(f"{_MODULE}/pkg/version.gitVersion={{version}}", f"{_MODULE}/pkg/version.buildDate={{time}}"),
    carried=("manifests/base",),
)


@dataclass(frozen=True)
class MetricsServer:
    """The program, and upstream's manifests (role, bindings, APIService) as they are."""

    program: Path
    manifests: Path


def build_metrics_server(cache: Path, report: Callable[[str], None]) -> MetricsServer:
    """Return metrics-server; build it when the cache does not hold it (minutes). Raises BuildError."""
    built = build_upstreams((METRICS_SERVER,), cache, report)[METRICS_SERVER.name]
    return MetricsServer(built / "bin" / "metrics-server", built / "module" / "manifests" / "base")
