"""Which protocol a stream speaks: what the client offers in its request, and the refusals where nothing fits.

Texts and codes: k8s.io/streaming pkg/httpstream Handshake and wsstream.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from provider.kubelet.streams.channels import choose_protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aiohttp import web
    from multidict import CIMultiDictProxy

STREAM_PROTOCOL: Final = "X-Stream-Protocol-Version"
ACCEPTED_PROTOCOLS: Final = "X-Accepted-Stream-Protocol-Versions"
SPDY: Final = "SPDY/3.1"


class Refused(Exception):  # noqa: N818 - a refusal, not a failure
    """An answer instead of a stream."""

    def __init__(self, status: int, text: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.headers = headers


def is_websocket(request: web.Request) -> bool:
    """Whether the client wants a WebSocket; it wants SPDY otherwise. Raises Refused when it wants no upgrade at all."""
    if "upgrade" not in ",".join(request.headers.getall("Connection", ())).lower():
        raise Refused(400, "Upgrade request required")
    return request.headers.get("Upgrade", "").lower() == "websocket"


def offered_websocket(request: web.Request) -> list[str]:
    """Return the subprotocols that the client offers."""
    return _listed(request.headers, "Sec-WebSocket-Protocol")


def agreed_websocket(request: web.Request, choose: Callable[[Sequence[str]], str | None]) -> str:
    """Return the subprotocol to speak. Raises Refused."""
    offered = offered_websocket(request)
    protocol = choose(offered)
    if protocol is None:
        raise Refused(403, f"requested protocol(s) are not supported: {' '.join(offered)}")
    return protocol


def agreed_spdy(request: web.Request, known: Sequence[str]) -> str:
    """Return the protocol above SPDY to speak. Raises Refused."""
    offered = _listed(request.headers, STREAM_PROTOCOL)
    if not offered:
        raise Refused(400, f"unable to upgrade: header {STREAM_PROTOCOL} names no protocol")
    protocol = choose_protocol(offered, known)
    if protocol is None:
        spoken = " ".join(known)
        text = f"unable to upgrade: unable to negotiate protocol: client supports {offered}, server accepts [{spoken}]"
        raise Refused(403, text, {ACCEPTED_PROTOCOLS: ", ".join(known)})
    if SPDY.lower() not in request.headers.get("Upgrade", "").lower():
        raise Refused(400, f"unable to upgrade: {SPDY} and websocket are spoken here")
    return protocol


def _listed(headers: CIMultiDictProxy[str], name: str) -> list[str]:
    """Return the values of a header that may stand on several lines, with commas between."""
    return [value for line in headers.getall(name, ()) for each in line.split(",") if (value := each.strip())]
