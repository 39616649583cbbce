"""Running one probe once, as the kubelet's prober does: a command, an HTTP GET, a TCP connection.

Texts are those of pkg/probe (http, tcp, exec) and of Go's net package, which people search for.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from msgspec import Struct

from provider.cloud.backend import ExecRequest
from provider.cloud.instances.events import Probed, ProbeKind
from provider.cloud.runtime.base import RuntimeFault
from provider.model.instance import ExecAction, HttpAction, Probe, TcpAction

if TYPE_CHECKING:
    from collections.abc import Mapping

    from provider.cloud.instances.instructions import RunProbe
    from provider.cloud.runtime.base import ContainerRuntime
    from provider.model.ids import ZoneId
    from provider.model.instance import ContainerSpec, InstanceRequest

OUTPUT_LIMIT = 10 * 1024
HEADER_LIMIT = 64 * 1024
MOST_REDIRECTS = 10
_OK, _REDIRECT, _ERROR = 200, 300, 400
_TRIES = 3
"""prober.go maxProbeRetries: only for a probe that could not be run."""


class _CannotRun(Exception):  # noqa: N818 - the probe says nothing about the container
    pass


class _Outcome(Struct, frozen=True):
    success: bool
    text: str = ""


async def run_probe(runtime: ContainerRuntime, request: InstanceRequest, address: str, wanted: RunProbe) -> Probed:
    """Return the probe's result; what keeps it from being run is `errored`, never an exception."""
    spec = next(one for one in request.containers if one.name == wanted.container)
    probe = probe_of(spec, wanted.kind)
    error = ""
    for _ in range(_TRIES):
        try:
            found = await _once(runtime, request, address, wanted, probe)
        except _CannotRun as failure:
            error = str(failure)
            continue
        return Probed(wanted.container, wanted.attempt, wanted.kind, found.success, found.text)
    return Probed(wanted.container, wanted.attempt, wanted.kind, success=False, message=error, errored=True)


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
    runtime: ContainerRuntime, request: InstanceRequest, address: str, wanted: RunProbe, probe: Probe
) -> _Outcome:
    match probe.action:
        case ExecAction(command):
            return await _exec(runtime, request, wanted, command, probe.timeout)
        case TcpAction(port, host):
            return await _tcp(runtime, request.zone, host or address, port, probe.timeout)
        case HttpAction() as action:
            return await _http(runtime, request.zone, action, address, probe.timeout)


async def _exec(
    runtime: ContainerRuntime, request: InstanceRequest, wanted: RunProbe, command: tuple[str, ...], seconds: float
) -> _Outcome:
    asked = ExecRequest(container=wanted.container, command=command)
    output = bytearray()
    try:
        session = await runtime.exec(request.uid, wanted.attempt, asked)
        try:
            async with asyncio.timeout(seconds):
                async for _, piece in session.output():
                    output += piece[: OUTPUT_LIMIT - len(output)]
                code = await session.wait()
        except TimeoutError:
            return _Outcome(
                success=False, text=f'command timed out: "{" ".join(command)}" timed out after {seconds:g}s'
            )
        finally:
            await session.close()
    except RuntimeFault as fault:
        raise _CannotRun(fault.message) from fault
    return _Outcome(code == 0, output.decode(errors="replace"))


async def _tcp(runtime: ContainerRuntime, zone: ZoneId, host: str, port: int, seconds: float) -> _Outcome:
    try:
        connection = await runtime.connect(zone, host, port, seconds)
    except OSError as error:  # TimeoutError is one
        return _Outcome(success=False, text=_dial_text(host, port, error))
    except RuntimeFault as fault:
        raise _CannotRun(fault.message) from fault
    connection.close()
    return _Outcome(success=True)


async def _http(runtime: ContainerRuntime, zone: ZoneId, action: HttpAction, address: str, seconds: float) -> _Outcome:
    host = action.host or address
    path = action.path if action.path.startswith("/") else f"/{action.path}"
    url = f"{action.scheme.lower()}://{_bracketed(host)}:{action.port}{path}"
    try:
        async with asyncio.timeout(seconds):
            for _ in range(MOST_REDIRECTS):
                answer = await _get(runtime, zone, url, action, seconds)
                target = urljoin(url, answer.location) if answer.location else ""
                followed = _REDIRECT <= answer.status < _ERROR and urlsplit(target).hostname == urlsplit(url).hostname
                if not followed:
                    break
                url = target
            else:
                return _Outcome(success=False, text=f'Get "{url}": stopped after {MOST_REDIRECTS} redirects')
    except TimeoutError:
        text = f'Get "{url}": context deadline exceeded (Client.Timeout exceeded while awaiting headers)'
        return _Outcome(success=False, text=text)
    except RuntimeFault as fault:
        raise _CannotRun(fault.message) from fault
    except _Unreadable as error:
        return _Outcome(success=False, text=f'Get "{url}": {error}')
    if _OK <= answer.status < _ERROR:
        return _Outcome(success=True)
    return _Outcome(success=False, text=f"HTTP probe failed with statuscode: {answer.status}")


class _Unreadable(Exception):  # noqa: N818 - a failure of the probed server
    pass


class _Answer(Struct, frozen=True):
    status: int
    location: str


async def _get(runtime: ContainerRuntime, zone: ZoneId, url: str, action: HttpAction, seconds: float) -> _Answer:
    """Send one GET over a connection of its own and read status and headers; the body says nothing to a probe."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        connection = await runtime.connect(zone, host, port, seconds)
    except TimeoutError:
        raise
    except OSError as error:
        raise _Unreadable(_dial_text(host, port, error)) from error
    secure = {"ssl": _unverified(), "server_hostname": host} if parts.scheme == "https" else {}
    try:
        reader, writer = await asyncio.open_connection(sock=connection, limit=HEADER_LIMIT, **secure)  # type: ignore[arg-type]
    except (OSError, ssl.SSLError) as error:
        connection.close()
        raise _Unreadable(str(error)) from error
    try:
        writer.write(_request_text(parts.path or "/", parts.query, parts.netloc, action))
        await writer.drain()
        head = await reader.readuntil(b"\r\n\r\n")
    except (OSError, asyncio.IncompleteReadError) as error:
        raise _Unreadable("EOF" if isinstance(error, asyncio.IncompleteReadError) else str(error)) from error
    except asyncio.LimitOverrunError as error:
        raise _Unreadable(f"net/http: server response headers exceeded {HEADER_LIMIT} bytes") from error
    finally:
        writer.close()
    return _parsed(head)


def _parsed(head: bytes) -> _Answer:
    lines = head.decode("latin-1").split("\r\n")
    version, _, rest = lines[0].partition(" ")
    code = rest[:3]
    if not version.startswith("HTTP/") or not code.isdecimal():
        raise _Unreadable(f'malformed HTTP response "{lines[0]}"')
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    return _Answer(int(code), headers.get("location", ""))


def _request_text(path: str, query: str, netloc: str, action: HttpAction) -> bytes:
    headers: dict[str, str] = {"user-agent": "User-Agent: kube-probe/1.37", "accept": "Accept: */*"}
    own: Mapping[str, str] = {name.lower(): f"{name}: {value}" for name, value in action.headers}
    headers |= own
    headers.setdefault("host", f"Host: {netloc}")
    if dict(action.headers).get("Accept") == "":
        del headers["accept"]
    target = f"{path}?{query}" if query else path
    lines = [f"GET {target} HTTP/1.1", *headers.values(), "Connection: close", "", ""]
    return "\r\n".join(lines).encode()


def _unverified() -> ssl.SSLContext:
    """Return a context that takes any certificate: the kubelet's rule for HTTPS probes."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _dial_text(host: str, port: int, error: OSError) -> str:
    """Return what Go says of a connection that failed."""
    where = f"dial tcp {_bracketed(host)}:{port}"
    if isinstance(error, TimeoutError):
        return f"{where}: i/o timeout"
    if isinstance(error, ConnectionRefusedError):
        return f"{where}: connect: connection refused"
    return f"{where}: connect: {(error.strerror or str(error)).lower()}"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
