"""Running one probe once, as the kubelet's prober does: a command, an HTTP GET, a TCP connection, a gRPC health check.

Connections come from the pod's own zone (ContainerRuntime.connect), so it does not matter whether the engine's host has
a route to the pods. Texts are those of pkg/kubelet/prober and pkg/probe, and of Go's net package, which people search
for. gRPC itself is handed in (`GrpcCheck`): this package speaks none.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from msgspec import Struct

from provider.cloud.instances.commands import run_command
from provider.cloud.instances.events import Outcome, Probed, ProbeKind
from provider.cloud.instances.http_get import AGENT_PROBE, GetError, dial_text, http_get, url_of
from provider.cloud.instances.wording import go_duration
from provider.cloud.runtime.base import RuntimeFault
from provider.model.probe import BrokenAction, ExecAction, GrpcAction, HttpAction, Probe, TcpAction

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable

    from provider.cloud.instances.instructions import RunProbe
    from provider.cloud.runtime.base import ContainerRuntime
    from provider.model.ids import ZoneId
    from provider.model.request import ContainerSpec, InstanceRequest

    GrpcCheck = Callable[
        [Callable[[float], Awaitable[socket.socket]], str, str, float],
        Awaitable["GrpcHealth"],
    ]
    """One health check (rpc/health_check.py): how to connect within so many seconds, `host:port`, service, seconds."""

_OK, _REDIRECT, _ERROR = 200, 300, 400
_TRIES = 3
"""prober.go maxProbeRetries: only for a probe that could not be run."""


class GrpcHealth(Struct, frozen=True):
    """What a health check said; `text` as pkg/probe/grpc words it."""

    serving: bool
    text: str


class _CannotRun(Exception):  # noqa: N818 - the probe says nothing about the container
    def __init__(self, text: str, state: str = "unknown") -> None:
        super().__init__(text)
        self.state = state


class _Found(Struct, frozen=True):
    outcome: Outcome
    text: str = ""


async def run_probe(
    runtime: ContainerRuntime, request: InstanceRequest, address: str, wanted: RunProbe, check: GrpcCheck
) -> Probed:
    """Return the probe's result; what keeps it from being run is ERRORED, never an exception."""
    spec = next(one for one in request.containers if one.name == wanted.container)
    probe = probe_of(spec, wanted.kind)
    text = ""
    for _ in range(_TRIES):
        try:
            found = await _once(runtime, request, address, wanted, probe, check)
        except _CannotRun as failure:
            text = f"probe errored and resulted in {failure.state} state: {failure}"
            continue
        return Probed(wanted.container, wanted.attempt, wanted.kind, found.outcome, found.text)
    return Probed(wanted.container, wanted.attempt, wanted.kind, Outcome.ERRORED, text)


def probe_of(spec: ContainerSpec, kind: ProbeKind) -> Probe:
    """Return one of a container's probes; KeyError if it has none of that kind."""
    probes = {
        ProbeKind.STARTUP: spec.startup,
        ProbeKind.LIVENESS: spec.liveness,
        ProbeKind.READINESS: spec.readiness,
    }
    probe = probes[kind]
    if probe is None:
        raise KeyError(f"container {spec.name} has no {kind} probe")
    return probe


async def _once(
    runtime: ContainerRuntime,
    request: InstanceRequest,
    address: str,
    wanted: RunProbe,
    probe: Probe,
    check: GrpcCheck,
) -> _Found:
    try:
        match probe.action:
            case ExecAction(command):
                return await _exec(runtime, request, wanted, command, probe.timeout)
            case TcpAction(port, host):
                return await _tcp(runtime, request.zone, host or address, port, probe.timeout)
            case HttpAction() as action:
                return await _http(runtime, request.zone, action, address, probe.timeout)
            case BrokenAction(error):
                raise _CannotRun(error)
            case GrpcAction(port, service):
                dial = partial(runtime.connect, request.zone, address, port)
                where = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
                health = await check(dial, where, service, probe.timeout)
                return _Found(Outcome.SUCCESS if health.serving else Outcome.FAILURE, health.text)
    except RuntimeFault as fault:
        raise _CannotRun(fault.message) from fault


async def _exec(
    runtime: ContainerRuntime, request: InstanceRequest, wanted: RunProbe, command: tuple[str, ...], seconds: float
) -> _Found:
    end = await run_command(runtime, request.uid, wanted.container, wanted.attempt, command, seconds)
    if end.code is None:
        text = f'command timed out: "{" ".join(command)}" timed out after {go_duration(seconds)}'
        return _Found(Outcome.FAILURE, text)
    return _Found(Outcome.FAILURE if end.code else Outcome.SUCCESS, end.output)


async def _tcp(runtime: ContainerRuntime, zone: ZoneId, host: str, port: int, seconds: float) -> _Found:
    try:
        connection = await runtime.connect(zone, host, port, seconds)
    except OSError as error:  # TimeoutError is one
        return _Found(Outcome.FAILURE, dial_text(host, port, error))
    connection.close()
    return _Found(Outcome.SUCCESS)


async def _http(runtime: ContainerRuntime, zone: ZoneId, action: HttpAction, address: str, seconds: float) -> _Found:
    try:
        url = url_of(action, address)
        answer = await http_get(partial(runtime.connect, zone), url, action, AGENT_PROBE, seconds)
    except ValueError as error:
        raise _CannotRun(str(error)) from error
    except GetError as error:
        return _Found(Outcome.FAILURE, str(error))
    if answer.cut:
        raise _CannotRun(answer.cut, "failure")
    body = answer.body.decode(errors="replace")
    if not _OK <= answer.status < _ERROR:
        return _Found(Outcome.FAILURE, f"HTTP probe failed with statuscode: {answer.status}")
    if answer.status >= _REDIRECT:
        return _Found(Outcome.WARNING, f"Probe terminated redirects, Response body: {body}")
    return _Found(Outcome.SUCCESS, body)
