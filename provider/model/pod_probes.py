"""Probes and lifecycle hooks of a pod's containers (k8s.io/api/core/v1, v1.37).

Names are the API's, in snake case; the rules of model/pod.py hold here too.
"""

from __future__ import annotations

from provider.model.api_object import ApiObject


class HttpHeader(ApiObject, frozen=True):
    """HTTPHeader."""

    name: str
    value: str = ""


class ExecHandler(ApiObject, frozen=True):
    """ExecAction."""

    command: list[str] | None = None


class HttpHandler(ApiObject, frozen=True):
    """HTTPGetAction; `port` may be the name of a port of the container."""

    port: int | str
    path: str = "/"
    host: str = ""
    scheme: str = "HTTP"
    http_headers: list[HttpHeader] | None = None


class TcpHandler(ApiObject, frozen=True):
    """TCPSocketAction."""

    port: int | str
    host: str = ""


class GrpcHandler(ApiObject, frozen=True):
    """GRPCAction; `service` of a grpc.health.v1.HealthCheckRequest."""

    port: int
    service: str | None = None


class ProbeEntry(ApiObject, frozen=True):
    """Probe of the API; seconds."""

    exec: ExecHandler | None = None
    http_get: HttpHandler | None = None
    tcp_socket: TcpHandler | None = None
    grpc: GrpcHandler | None = None
    initial_delay_seconds: int = 0
    timeout_seconds: int = 1
    period_seconds: int = 10
    success_threshold: int = 1
    failure_threshold: int = 3
    termination_grace_period_seconds: int | None = None


class SleepHandler(ApiObject, frozen=True):
    """SleepAction."""

    seconds: int = 0


class HookEntry(ApiObject, frozen=True):
    """LifecycleHandler: one of them is set."""

    exec: ExecHandler | None = None
    http_get: HttpHandler | None = None
    tcp_socket: TcpHandler | None = None
    sleep: SleepHandler | None = None
