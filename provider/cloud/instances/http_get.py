"""One GET as the kubelet sends it, for HTTP probes and hooks: over a connection of its own from the pod's own zone.

Rules and texts: pkg/probe/http (request.go, http.go) and Go's net/http, whose errors people search for. A certificate
is not verified. Redirects are followed as long as they stay on the same host, ten requests at most.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from typing import TYPE_CHECKING
from urllib.parse import quote, urljoin, urlsplit

from msgspec import Struct

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable, Sequence

    from provider.model.probe import HttpAction

    Dial = Callable[[str, int, float], Awaitable[socket.socket]]
    """Connect to host and port within so many seconds; OSError, RuntimeFault."""

HEADER_LIMIT = 64 * 1024
BODY_LIMIT = 10 * 1024
"""Bytes that are read of an answer's body (pkg/probe/http maxRespBodyLength)."""
MOST_REQUESTS = 10
DIAL_SECONDS = 130.0
"""Seconds for a connection where there is no limit: what Linux takes to give up."""
AGENT_PROBE, AGENT_HOOK = "kube-probe/1.37", "kube-lifecycle/1.37"
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_HTTPS_PORT, _HTTP_PORT = 443, 80
_BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_TOKEN = re.compile(r"[\w!#$%&'*+.^`|~-]+", re.ASCII)
_BAD_VALUE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_BAD_HOST = re.compile(r"[^\w.:%~!$&'()*+,;=-]", re.ASCII)
_NOT_SENT = frozenset({"host", "user-agent", "content-length", "transfer-encoding", "trailer"})
"""Headers that Go writes by itself, or not at all, whatever the pod asks for."""
_PLAIN_ANSWERS = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"})
"""What OpenSSL makes of an answer that is no TLS."""
PLAIN_ANSWER = "http: server gave HTTP response to HTTPS client"


class HttpAnswer(Struct, frozen=True):
    """The last answer. `cut`: its body could not be read to the end, and why."""

    status: int
    body: bytes
    location: str = ""
    cut: str = ""


class GetError(Exception):
    """No answer; the text is Go's url.Error."""


class _Failed(Exception):  # noqa: N818 - becomes a GetError with its URL
    pass


def url_of(action: HttpAction, address: str, scheme: str = "") -> str:
    """Return the URL of an action; `scheme` instead of its own (http.NewRequestForHTTPGetAction).

    ValueError, in Go's words, for a host that can be in no URL.
    """
    host = action.host or address
    if bad := _BAD_HOST.search(host):
        raise ValueError(f'parse "http://{host}:{action.port}": invalid character "{bad[0]}" in host name')
    bracketed = f"[{host}]" if ":" in host else host
    return f"{scheme or action.scheme.lower() or 'http'}://{bracketed}:{action.port}{_target(action.path)}"


async def http_get(dial: Dial, url: str, action: HttpAction, agent: str, seconds: float | None) -> HttpAnswer:
    """Return the answer within `seconds` altogether (None: whenever it comes).

    GetError, and whatever `dial` raises that is no OSError.
    """
    dial_seconds = DIAL_SECONDS if seconds is None else seconds
    first = urlsplit(url).hostname
    told = url
    try:
        async with asyncio.timeout(seconds):
            for _ in range(MOST_REQUESTS):
                answer = await _once(dial, url, action, agent, dial_seconds)
                if answer.status not in _REDIRECTS or not answer.location:
                    return answer
                told = answer.location
                target = urljoin(url, answer.location)
                if urlsplit(target).hostname != first:
                    return answer
                url = target
    except TimeoutError as error:
        text = f'Get "{told}": context deadline exceeded (Client.Timeout exceeded while awaiting headers)'
        raise GetError(text) from error
    except _Failed as error:
        raise GetError(f'Get "{told}": {error}') from error
    raise GetError(f'Get "{told}": stopped after {MOST_REQUESTS} redirects')


def dial_text(host: str, port: int, error: OSError) -> str:
    """Return what Go says of a TCP connection that could not be made."""
    where = f"dial tcp {f'[{host}]' if ':' in host else host}:{port}"
    if isinstance(error, TimeoutError):
        return f"{where}: i/o timeout"
    if isinstance(error, ConnectionRefusedError):
        return f"{where}: connect: connection refused"
    return f"{where}: connect: {(error.strerror or str(error)).lower()}"


async def _once(dial: Dial, url: str, action: HttpAction, agent: str, seconds: float) -> HttpAnswer:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"}:
        raise _Failed(f'unsupported protocol scheme "{parts.scheme}"')
    try:
        host, port = parts.hostname or "", parts.port or (_HTTPS_PORT if parts.scheme == "https" else _HTTP_PORT)
    except ValueError as error:
        raise _Failed(f"invalid URL: {error}") from error
    request = _request(parts.path or "/", parts.query, parts.netloc, action.headers, agent)
    reader, writer = await _open(dial, host, port, seconds, secure=parts.scheme == "https")
    try:
        writer.write(request)
        await writer.drain()
        while True:
            status, headers = _parsed(await _head(reader))
            if status >= 200 or status == 101:  # noqa: PLR2004 - what comes before is "continue"
                break
        body, cut = await _body(reader, headers)
    except OSError as error:
        raise _Failed((error.strerror or str(error)).lower()) from error
    finally:
        writer.close()
    return HttpAnswer(status, body, headers.get("location", ""), cut)


async def _open(
    dial: Dial, host: str, port: int, seconds: float, *, secure: bool
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    try:
        connection = await dial(host, port, seconds)
    except TimeoutError:
        raise
    except OSError as error:
        raise _Failed(dial_text(host, port, error)) from error
    context = _unverified() if secure else None
    try:
        return await asyncio.open_connection(
            sock=connection, limit=HEADER_LIMIT, ssl=context, server_hostname=host if secure else None
        )
    except ssl.SSLError as error:
        connection.close()
        text = PLAIN_ANSWER if error.reason in _PLAIN_ANSWERS else f"tls: {error.reason or error}"
        raise _Failed(text) from error
    except OSError as error:
        connection.close()
        raise _Failed((error.strerror or str(error) or "EOF").lower()) from error


async def _head(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        raise _Failed("unexpected EOF" if error.partial else "EOF") from error
    except asyncio.LimitOverrunError as error:
        raise _Failed(f"net/http: server response headers exceeded {HEADER_LIMIT} bytes; aborted") from error


async def _body(reader: asyncio.StreamReader, headers: dict[str, str]) -> tuple[bytes, str]:
    """Return at most BODY_LIMIT bytes of the body, and why it could not be read further."""
    length = headers.get("content-length", "")
    if "chunked" in headers.get("transfer-encoding", "").lower():
        return await _chunks(reader)
    wanted = min(int(length), BODY_LIMIT) if length.isdecimal() else BODY_LIMIT
    body = bytearray()
    while len(body) < wanted and (piece := await reader.read(wanted - len(body))):
        body += piece
    return bytes(body), "unexpected EOF" if length.isdecimal() and len(body) < wanted else ""


async def _chunks(reader: asyncio.StreamReader) -> tuple[bytes, str]:
    body = bytearray()
    try:
        while len(body) < BODY_LIMIT:
            size = int((await reader.readuntil(b"\r\n")).partition(b";")[0], 16)
            if not size:
                break
            body += (await reader.readexactly(min(size, BODY_LIMIT) + 2 * (size <= BODY_LIMIT)))[:size]
            if size > BODY_LIMIT:
                break
    except (ValueError, asyncio.LimitOverrunError):
        return bytes(body), "malformed chunked encoding"
    except asyncio.IncompleteReadError:
        return bytes(body), "unexpected EOF"
    return bytes(body[:BODY_LIMIT]), ""


def _parsed(head: bytes) -> tuple[int, dict[str, str]]:
    lines = head.decode("latin-1").split("\r\n")
    version, _, rest = lines[0].partition(" ")
    code = rest[:3]
    if not version.startswith("HTTP/") or not code.isdecimal():
        raise _Failed(f'net/http: HTTP/1.x transport connection broken: malformed HTTP response "{lines[0]}"')
    pairs = (line.partition(":") for line in lines[1:])
    return int(code), {name.strip().lower(): value.strip() for name, _, value in pairs}


def _request(path: str, query: str, netloc: str, own: Sequence[tuple[str, str]], agent: str) -> bytes:
    """Return the request as Go writes it: Host, User-Agent, the pod's headers by name, each as often as it is given."""
    given: dict[str, list[str]] = {}
    for name, value in own:
        given.setdefault(_canonical(name), []).append(value)
    for name, values in given.items():
        if not _TOKEN.fullmatch(name):
            raise _Failed(f'net/http: invalid header field name "{name}"')
        if any(_BAD_VALUE.search(value) for value in values):
            raise _Failed(f'net/http: invalid header field value for "{name}"')
    host = given.get("Host", [""])[0] or netloc
    user_agent = given.get("User-Agent", [agent])[0]
    accept = given.setdefault("Accept", ["*/*"])
    if not accept[0]:
        del given["Accept"]
    lines = [f"GET {path}{f'?{query}' if query else ''} HTTP/1.1", f"Host: {host}"]
    if user_agent:
        lines.append(f"User-Agent: {user_agent}")
    lines += [
        f"{name}: {value.strip()}"
        for name, values in sorted(given.items())
        if name.lower() not in _NOT_SENT
        for value in values
    ]
    return "\r\n".join([*lines, "Connection: close", "", ""]).encode()


def _canonical(name: str) -> str:
    """Return a header's name as Go keys it: `x-a-b` and `X-A-B` are the same."""
    return "-".join(part[:1].upper() + part[1:].lower() for part in name.split("-"))


def _target(path: str) -> str:
    """Return path and query for a URL; a path that is no URL's is taken for a file name with odd characters."""
    before, question, query = path.partition("#")[0].partition("?")
    if _CONTROL.search(path) or _BROKEN_ESCAPE.search(before):
        before, question, query = path.replace("%", "%25").replace("?", "%3F").replace("#", "%23"), "", ""
    slash = "" if before.startswith("/") else "/"
    return f"{slash}{quote(before, safe=_PATH)}{question}{quote(query, safe=_QUERY)}"


_PATH = "/%:@!$&'()*+,;=~-._"
_QUERY = "/?%:@!$&'()*+,;=~-._[]{}|\\^`<>\""


def _unverified() -> ssl.SSLContext:
    """Return a context that takes any certificate: the kubelet's rule for HTTPS probes."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
