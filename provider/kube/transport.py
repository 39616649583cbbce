"""One way to an API server: a pooled TLS session and the credentials that go with it.

kubernetes_asyncio's Configuration says where and as whom (bearer token and its refreshing included); the session is
our own, because the library's keeps idle connections for 15 s only and gives no way to exchange a certificate.
A transport is retired, not closed, when newer credentials take its place: what is in flight ends in peace.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import asynccontextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import aiohttp

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from aiohttp.connector import AddrInfoType

CONNECTIONS = 10
"""Requests at a time to one server, watches aside; the others wait, first come first served, before their time runs.
Each connection costs 256 KiB of TLS buffers and a handshake, and more of them only lengthen the server's own queue."""
KEEPALIVE_SECONDS = 75.0
"""An idle connection is kept; the API server ends it after 90 s itself."""
READ_BUFFER = 1 << 21
_UNLIMITED = 0  # aiohttp's word for it
PROBE_AFTER_SECONDS = 15
"""An idle connection is probed after this, and then every third of it."""
UNANSWERED_SECONDS = 30
"""A connection on which neither data nor probes are acknowledged for this long is dead: a way that drops packets tells
nobody. Together with PROBE_AFTER_SECONDS it is what client-go has over HTTP/2 (ReadIdleTimeout 30 s, PingTimeout 15 s).
Without it a connection lives as long as the kernel sends again, a quarter of an hour."""
SOCKET_OPTIONS = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, PROBE_AFTER_SECONDS),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, PROBE_AFTER_SECONDS // 3),
    # Counts for unacknowledged data and for unanswered probes alike, whatever TCP_KEEPCNT says.
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNANSWERED_SECONDS * 1000),
)


class Transport:
    """Sends requests; made inside a running loop. `configuration` is a kubernetes_asyncio Configuration."""

    def __init__(self, configuration: Any) -> None:
        """Read the certificate files now: they may be gone later."""
        self._configuration = configuration
        self._in_flight = 0
        self._places = asyncio.Semaphore(CONNECTIONS)
        self._retired = False
        connector = aiohttp.TCPConnector(
            limit=_UNLIMITED,
            ssl=_context(configuration),
            keepalive_timeout=KEEPALIVE_SECONDS,
            socket_factory=_socket,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            trust_env=True,
            read_bufsize=READ_BUFFER,
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    @asynccontextmanager
    async def send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        body: bytes | None,
        content_type: str,
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 (aiohttp's own, of connect and read apart)
        *,
        lasting: bool = False,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Yield the response; its body is read inside the block. Raises aiohttp's errors and TimeoutError.

        `lasting`: the answer goes on for minutes (a watch), and takes nobody's place.
        """
        self._in_flight += 1
        try:
            async with (
                nullcontext() if lasting else self._places,
                self._request(method, path, query, body, content_type, timeout) as response,
            ):
                yield response
        finally:
            self._in_flight -= 1
            if self._retired:
                await self.retire()

    @asynccontextmanager
    async def _request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        body: bytes | None,
        content_type: str,
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        headers = {"Accept": "application/json", **await self._authorization()}
        if body is not None:
            headers["Content-Type"] = content_type
        configuration = self._configuration
        async with self._session.request(
            method,
            configuration.host + path,
            params=query,
            data=body,
            headers=headers,
            timeout=timeout,
            proxy=configuration.proxy,
            server_hostname=configuration.tls_server_name,
        ) as response:
            yield response

    async def retire(self) -> None:
        """Close as soon as nothing is in flight."""
        self._retired = True
        if self._in_flight == 0:
            await self.close()

    async def close(self) -> None:
        """Close every connection now."""
        await self._session.close()

    async def _authorization(self) -> dict[str, str]:
        settings = await self._configuration.auth_settings()
        bearer = settings.get("BearerToken")
        return {} if bearer is None else {"Authorization": bearer["value"]}


def _socket(address: AddrInfoType) -> socket.socket:
    """Return a socket that notices when the other side is silent for good."""
    family, kind, protocol, *_ = address
    made = socket.socket(family, kind, protocol)
    for level, option, value in SOCKET_OPTIONS:
        made.setsockopt(level, option, value)
    return made


def _context(configuration: Any) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=configuration.ssl_ca_cert)
    if configuration.cert_file:
        context.load_cert_chain(configuration.cert_file, keyfile=configuration.key_file)
    if not configuration.verify_ssl:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    # Python 3.13 refuses CAs without a key-usage extension by default; Go, and so every other client here, does not.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context
