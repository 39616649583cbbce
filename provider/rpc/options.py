"""Where the elastic API listens and how it is reached: addresses, TLS, and the limits that both ends agree on.

An address is `unix:/absolute/path` or `host:port`. A Unix socket is guarded by its permissions (0600); TCP without TLS
is for loopback alone, and TLS is mutual: whoever may call this API may run any program on the engine's host.
"""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Final

import grpc
from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Sequence

UNIX: Final = "unix:"
LONGEST_SOCKET_PATH: Final = 107
"""Bytes: sockaddr_un.sun_path without its final NUL (unix(7))."""

MESSAGE_BYTES: Final = 64 * 1024 * 1024
"""The largest message: a creation holds the files of the pod's ConfigMaps and Secrets, each of 1 MiB at most."""

_COMMON: Final = (
    ("grpc.max_receive_message_length", MESSAGE_BYTES),
    ("grpc.max_send_message_length", MESSAGE_BYTES),
    ("grpc.max_metadata_size", 64 * 1024),
    ("grpc.absolute_max_metadata_size", 64 * 1024),
)
SERVER_OPTIONS: Final = (
    *_COMMON,
    ("grpc.so_reuseport", 0),  # a port that is in use is an error, not a share of its connections
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 5_000),
    ("grpc.keepalive_time_ms", 30_000),  # a reader that is gone without a word
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.http2.max_pings_without_data", 0),
)
CLIENT_OPTIONS: Final = (
    *_COMMON,
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 5_000),
)


class AddressError(ValueError):
    """An address that cannot be used, told with the reason and a way out."""


class ListenError(AddressError, OSError):
    """An address that cannot be listened on now: something else does, or it is no address of this machine."""


class TlsFiles(Struct, frozen=True):
    """PEM files of one end: its own certificate and key, and the authority that signs the other end's."""

    certificate: Path
    key: Path
    authority: Path

    def server(self) -> grpc.ServerCredentials:
        """Return credentials that ask every client for a certificate; AddressError for a file that cannot be read."""
        pair = (self._read(self.key), self._read(self.certificate))
        return grpc.ssl_server_credentials([pair], self._read(self.authority), require_client_auth=True)

    def client(self) -> grpc.ChannelCredentials:
        """Return credentials that verify the server; AddressError for a file that cannot be read."""
        return grpc.ssl_channel_credentials(
            self._read(self.authority), self._read(self.key), self._read(self.certificate)
        )

    @staticmethod
    def _read(path: Path) -> bytes:
        try:
            return path.read_bytes()
        except OSError as error:
            raise AddressError(f"the TLS file {path} cannot be read: {error.strerror}") from error


def socket_path(address: str) -> Path | None:
    """Return the path of a Unix address, None for TCP; AddressError for a path that no socket can have."""
    if not address.startswith(UNIX):
        return None
    path = Path(address.removeprefix(UNIX))
    if not path.is_absolute():
        raise AddressError(f"{address!r} is no address: write unix:/absolute/path")
    length = len(str(path).encode())
    if length > LONGEST_SOCKET_PATH:
        text = f"the path of the socket {path} has {length} bytes, the system allows {LONGEST_SOCKET_PATH}"
        raise AddressError(f"{text}; choose a shorter state directory (ZONELET_STATE_DIR)")
    return path


def check_tcp(address: str, tls: TlsFiles | None) -> None:
    """Raise AddressError for what is not `host:port`, and for TCP that others can reach without TLS."""
    host, colon, port = address.rpartition(":")
    if not (colon and host and port.isascii() and port.isdigit() and int(port) < 2**16):
        raise AddressError(f"{address!r} is no address: write host:port or unix:/absolute/path")
    if tls is None and not _is_loopback(host.removeprefix("[").removesuffix("]")):
        text = f"{address} can be reached from other machines, and whoever can call the elastic API is root here"
        raise AddressError(f"{text}; use a Unix socket, 127.0.0.1, or TLS (certificate, key and client authority)")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False  # a name: who knows where it leads


def pieces(data: bytes, most: int = 256 * 1024) -> Sequence[bytes]:
    """Return `data` in parts of at most `most` bytes, in order; nothing for nothing."""
    return [data] if 0 < len(data) <= most else [data[at : at + most] for at in range(0, len(data), most)]
