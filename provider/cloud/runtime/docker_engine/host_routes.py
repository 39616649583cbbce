"""The IPv4 networks that this machine's interfaces and routing tables know, those of VPNs and policy routing too.

Asked of the kernel by rtnetlink(7), for /proc/net/route shows the main table only and the `ip` command may be missing.
"""

from __future__ import annotations

import socket
import struct
from ipaddress import IPv4Network
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_RTM_NEWADDR, _RTM_GETADDR, _RTM_NEWROUTE, _RTM_GETROUTE = 20, 22, 24, 26
_REQUEST_DUMP = 0x301
_ERROR, _DONE = 2, 3
_HEADER = struct.Struct("=IHHII")
_ROUTE = struct.Struct("=BBBBBBBBI")
_ADDRESS = struct.Struct("=BBBBI")
_ATTRIBUTE = struct.Struct("=HH")
_NEXT_HOP = struct.Struct("=HBBi")
_RTA_DST, _RTA_OIF, _RTA_MULTIPATH = 1, 4, 9
_IFA_ADDRESS = 1
_BROADCAST, _MULTICAST = 3, 5
_READ_BYTES = 1 << 18


class HostNetwork(NamedTuple):
    """A network that the machine knows, and the interface it lies behind ("" for a route that leads nowhere)."""

    cidr: str
    interface: str


def host_networks() -> list[HostNetwork]:
    """Return the networks of all routes and interface addresses. OSError when the kernel refuses."""
    found: dict[HostNetwork, None] = {}
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as link:
        for request in (_RTM_GETROUTE, _RTM_GETADDR):
            for network in parse(_dump(link, request), _interface_name):
                found[network] = None
    return list(found)


def parse(answer: bytes, name_of: Callable[[int], str]) -> Iterator[HostNetwork]:
    """Yield the networks in the messages of a dump of routes or addresses; OSError for an error in their place."""
    for kind, body in _messages(answer):
        if kind == _ERROR:
            code = -struct.unpack_from("=i", body)[0]
            raise OSError(code, "the kernel does not tell its routes")
        if kind == _RTM_NEWROUTE:
            yield from _route(body, name_of)
        elif kind == _RTM_NEWADDR:
            _, length, _, _, index = _ADDRESS.unpack_from(body)
            address = dict(_attributes(body[_ADDRESS.size :])).get(_IFA_ADDRESS)
            if address is not None:
                yield HostNetwork(_cidr(address, length), name_of(index))


def _route(body: bytes, name_of: Callable[[int], str]) -> Iterator[HostNetwork]:
    _, length, _, _, _, _, _, kind, _ = _ROUTE.unpack_from(body)
    if kind in (_BROADCAST, _MULTICAST):
        return
    attributes = dict(_attributes(body[_ROUTE.size :]))
    index = 0
    if _RTA_OIF in attributes:
        index = struct.unpack("=i", attributes[_RTA_OIF])[0]
    elif _RTA_MULTIPATH in attributes:
        index = _NEXT_HOP.unpack_from(attributes[_RTA_MULTIPATH])[3]
    yield HostNetwork(_cidr(attributes.get(_RTA_DST, bytes(4)), length), name_of(index) if index else "")


def _messages(answer: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + _HEADER.size <= len(answer):
        length, kind, _, _, _ = _HEADER.unpack_from(answer, at)
        if length < _HEADER.size:
            return
        yield kind, answer[at + _HEADER.size : at + length]
        at += _aligned(length)


def _attributes(body: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + _ATTRIBUTE.size <= len(body):
        length, kind = _ATTRIBUTE.unpack_from(body, at)
        if length < _ATTRIBUTE.size:
            return
        yield kind, body[at + _ATTRIBUTE.size : at + length]
        at += _aligned(length)


def _dump(link: socket.socket, request: int) -> bytes:
    """Return all messages of the answer, the last one (done, or an error) included."""
    body = struct.pack("=B", socket.AF_INET).ljust(_ROUTE.size, b"\0")
    link.send(_HEADER.pack(_HEADER.size + len(body), request, _REQUEST_DUMP, request, 0) + body)
    answer = b""
    while True:
        part = link.recv(_READ_BYTES)
        answer += part
        if any(kind in (_DONE, _ERROR) for kind, _ in _messages(part)):
            return answer


def _cidr(address: bytes, length: int) -> str:
    return str(IPv4Network((address, length), strict=False))


def _interface_name(index: int) -> str:
    try:
        return socket.if_indextoname(index)
    except OSError:
        return f"number {index}"  # it went away since


def _aligned(length: int) -> int:
    return (length + 3) & ~3
