"""Probes and lifecycle hooks of an instance's containers: what is done, and when. Durations in seconds."""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Struct


class ExecAction(Struct, frozen=True, omit_defaults=True, tag="exec"):
    """Run a command in the container; exit code 0 is success."""

    command: tuple[str, ...]


class HttpAction(Struct, frozen=True, omit_defaults=True, tag="http"):
    """GET; status 200..399 is success. `host` empty: the instance's address. HTTPS is not verified (kubelet's rule)."""

    port: int
    path: str = "/"
    scheme: str = "HTTP"
    host: str = ""
    headers: tuple[tuple[str, str], ...] = ()


class TcpAction(Struct, frozen=True, omit_defaults=True, tag="tcp"):
    """Open a TCP connection; `host` empty: the instance's address."""

    port: int
    host: str = ""


class GrpcAction(Struct, frozen=True, omit_defaults=True, tag="grpc"):
    """Ask grpc.health.v1.Health/Check at the instance's address about `service`; SERVING is success."""

    port: int
    service: str = ""


class SleepAction(Struct, frozen=True, omit_defaults=True, tag="sleep"):
    """Let so many seconds pass."""

    seconds: float = 0


class BrokenAction(Struct, frozen=True, omit_defaults=True, tag="broken"):
    """What can never be done, and why: a port by a name that the container has not. Each try fails with these words."""

    error: str = ""


Action: TypeAlias = ExecAction | HttpAction | TcpAction | GrpcAction | BrokenAction

Hook: TypeAlias = ExecAction | HttpAction | SleepAction | TcpAction | BrokenAction
"""What a lifecycle hook does; TCP is in the API and always fails (k8s.io/api/core/v1 LifecycleHandler)."""


class Probe(Struct, frozen=True, omit_defaults=True):
    """A probe with the kubelet's defaults (k8s.io/api/core/v1 Probe)."""

    action: Action
    initial_delay: float = 0
    period: float = 10
    timeout: float = 1
    success_threshold: int = 1
    failure_threshold: int = 3
    grace: float | None = None
