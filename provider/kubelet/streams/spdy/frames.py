"""Frames of SPDY/3.1 (draft 3.1, section 2.6) as values, the same for both directions, and their plain layout."""

from __future__ import annotations

from enum import IntEnum

from msgspec import Struct

from provider.kubelet.streams.spdy.headers import HeaderList

VERSION = 3
FLAG_FIN = 0x01
FLAG_UNIDIRECTIONAL = 0x02
MAX_STREAM_ID = 0x7FFFFFFF
MAX_WINDOW = 0x7FFFFFFF
INITIAL_WINDOW = 65536
SETTINGS_INITIAL_WINDOW_SIZE = 7


class FrameType(IntEnum):
    """Types of control frames."""

    SYN_STREAM = 1
    SYN_REPLY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PING = 6
    GOAWAY = 7
    HEADERS = 8
    WINDOW_UPDATE = 9


class ResetStatus(IntEnum):
    """Status codes of RST_STREAM; a peer may send others, so frames hold a plain int."""

    PROTOCOL_ERROR = 1
    INVALID_STREAM = 2
    REFUSED_STREAM = 3
    UNSUPPORTED_VERSION = 4
    CANCEL = 5
    INTERNAL_ERROR = 6
    FLOW_CONTROL_ERROR = 7
    STREAM_IN_USE = 8
    STREAM_ALREADY_CLOSED = 9
    FRAME_TOO_LARGE = 11


class SynStream(Struct, frozen=True):
    """Open a stream. `fin`: the opener sends no data; `unidirectional`: the other side answers none."""

    stream_id: int
    headers: HeaderList = ()
    fin: bool = False
    unidirectional: bool = False
    associated_id: int = 0
    priority: int = 0


class SynReply(Struct, frozen=True):
    """Accept a stream."""

    stream_id: int
    headers: HeaderList = ()
    fin: bool = False


class RstStream(Struct, frozen=True):
    """End a stream at once, both ways. `status` is a ResetStatus."""

    stream_id: int
    status: int


class Settings(Struct, frozen=True):
    """(id, flags, value) of each setting."""

    entries: tuple[tuple[int, int, int], ...] = ()
    clear: bool = False


class Ping(Struct, frozen=True):
    """A ping of the client has an odd id; the receiver sends the same frame back."""

    ping_id: int


class GoAway(Struct, frozen=True):
    """The sender accepts no new streams above `last_stream_id`; status 0 ok, 1 protocol error, 2 internal error."""

    last_stream_id: int
    status: int = 0


class Headers(Struct, frozen=True):
    """More headers on an open stream."""

    stream_id: int
    headers: HeaderList = ()
    fin: bool = False


class WindowUpdate(Struct, frozen=True):
    """The sender can take `delta` more bytes on the stream; stream 0 is the connection."""

    stream_id: int
    delta: int


class Data(Struct, frozen=True):
    """Bytes of a stream; `fin` half-closes the sender's direction."""

    stream_id: int
    data: bytes = b""
    fin: bool = False


Frame = SynStream | SynReply | RstStream | Settings | Ping | GoAway | Headers | WindowUpdate | Data


def control_frame(kind: FrameType, payload: bytes, flags: int = 0) -> bytes:
    """Return a control frame: version with the control bit, type, flags, 24-bit length, payload."""
    head = ((0x8000 | VERSION) << 16 | kind).to_bytes(4, "big")
    return head + bytes((flags,)) + len(payload).to_bytes(3, "big") + payload


def data_frame(frame: Data) -> bytes:
    """Return a DATA frame."""
    flags = FLAG_FIN if frame.fin else 0
    return frame.stream_id.to_bytes(4, "big") + bytes((flags,)) + len(frame.data).to_bytes(3, "big") + frame.data


def words(*numbers: int) -> bytes:
    """Return 32-bit numbers in network order."""
    return b"".join(number.to_bytes(4, "big") for number in numbers)
