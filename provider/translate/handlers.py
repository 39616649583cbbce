"""What a container's probes and lifecycle hooks do, and when it is started again. Pure.

Rules: pkg/kubelet/prober/prober.go, pkg/kubelet/lifecycle/handlers.go, pkg/probe/util.go. A command of a probe is
expanded from the literal values of the container's own `env` only: neither envFrom nor valueFrom is known to it. A
command of a hook is taken as it is written. A port that the container has not by that name is no reason to refuse the
pod: each try says so.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, TypeVar

from provider.model.errors import Rejection
from provider.model.expansion import expand
from provider.model.probe import (
    Action,
    BrokenAction,
    ExecAction,
    GrpcAction,
    Hook,
    HttpAction,
    Probe,
    SleepAction,
    TcpAction,
)
from provider.model.request import RestartRule

if TYPE_CHECKING:
    from provider.model.pod import Container
    from provider.model.pod_probes import HookEntry, HttpHandler, ProbeEntry

E = TypeVar("E", bound=StrEnum)
_REASON = "UnsupportedPodSpec"
_LAST_PORT = 65_535


def probe(one: Container, entry: ProbeEntry | None, path: str) -> Probe | None:
    """Return a probe of a container; Rejection, with `path` as its field, for one that cannot be run.

    Numbers that the API server lets no one write (validation.go validateProbe) count as the least that it does.
    """
    if entry is None:
        return None
    return Probe(
        _action(one, entry, path),
        initial_delay=max(0, entry.initial_delay_seconds),
        period=max(1, entry.period_seconds),
        timeout=max(1, entry.timeout_seconds),
        success_threshold=max(1, entry.success_threshold),
        failure_threshold=max(1, entry.failure_threshold),
        grace=entry.termination_grace_period_seconds,
    )


def restart_rules(one: Container) -> tuple[RestartRule, ...]:
    """Return a container's own rules of restart; a rule without exit codes matches nothing (pkg/api/v1/pod/util.go)."""
    return tuple(
        RestartRule(tuple(rule.exit_codes.values or ()), others=rule.exit_codes.operator == "NotIn")
        for rule in one.restart_policy_rules or ()
        if rule.exit_codes is not None
    )


def choice(kind: type[E], value: str, path: str) -> E:
    """Return the member of an enumeration that a field names; Rejection for one that there is not."""
    try:
        return kind(value)
    except ValueError:
        raise Rejection(_REASON, f"{path}: {value!r} is not supported by this node", field=path) from None


def hook(one: Container, entry: HookEntry | None, path: str) -> Hook | None:
    """Return a hook of a container; Rejection, with `path` as its field, for one that cannot be run."""
    if entry is None:
        return None
    if entry.exec is not None:
        return ExecAction(tuple(entry.exec.command or ()))
    if entry.sleep is not None:
        return SleepAction(max(0, entry.sleep.seconds))
    try:
        if entry.http_get is not None:
            return _http(one, entry.http_get)
        if entry.tcp_socket is not None:
            return TcpAction(_port(one, entry.tcp_socket.port), entry.tcp_socket.host)
    except _NoPortError as error:
        return BrokenAction(str(error))
    raise Rejection(_REASON, f"{path} has no handler", field=path)


def _action(one: Container, entry: ProbeEntry, path: str) -> Action:
    if entry.exec is not None:
        literals = {variable.name: variable.value for variable in one.env or ()}
        return ExecAction(tuple(expand(word, literals) for word in entry.exec.command or ()))
    try:
        if entry.http_get is not None:
            return _http(one, entry.http_get)
        if entry.tcp_socket is not None:
            return TcpAction(_port(one, entry.tcp_socket.port), entry.tcp_socket.host)
        if entry.grpc is not None:
            return GrpcAction(_port(one, entry.grpc.port), entry.grpc.service or "")
    except _NoPortError as error:
        return BrokenAction(str(error))
    raise Rejection(_REASON, f"{path} has no handler", field=path)


class _NoPortError(Exception):
    """A port that there is not, in the kubelet's words (probe.ResolveContainerPort)."""


def _http(one: Container, http: HttpHandler) -> HttpAction:
    headers = tuple((header.name, header.value) for header in http.http_headers or ())
    return HttpAction(_port(one, http.port), http.path or "/", http.scheme, http.host, headers)


def _port(one: Container, port: int | str) -> int:
    if isinstance(port, str):
        named = next((known.container_port for known in one.ports or () if known.name == port), None)
        if named is None:
            raise _NoPortError(f'port "{port}" not found')
        port = named
    if not 0 < port <= _LAST_PORT:
        raise _NoPortError(f"invalid port number: {port}")
    return port
