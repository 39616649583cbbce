"""The remotecommand protocol above its transports: channel numbers, the exit status, terminal sizes.

Sources: k8s.io/apimachinery/pkg/util/remotecommand/constants.go (names), k8s.io/kubelet streaming remotecommand
(exec.go: the exit status; websocket.go: channel numbers), client-go tools/remotecommand (v2 to v5: the reader's side).
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Sequence  # noqa: TC003 - msgspec reads annotations of this module at run time
from enum import IntEnum

import msgspec
from msgspec import Struct

V1 = "channel.k8s.io"
V2 = "v2.channel.k8s.io"
V3 = "v3.channel.k8s.io"
V4 = "v4.channel.k8s.io"
V5 = "v5.channel.k8s.io"
V1_BASE64 = "base64.channel.k8s.io"
V4_BASE64 = "v4.base64.channel.k8s.io"

SPDY_PROTOCOLS = (V4, V3, V2, V1)
"""What exec over SPDY offers in `X-Stream-Protocol-Version`, best first; V1 is also what no header means."""

WEBSOCKET_PROTOCOLS = (V5, V4, V4_BASE64, V1, V1_BASE64)
"""Subprotocols of exec over WebSocket, best first; "" (none asked for) means V1."""

STREAM_TYPE = "streamtype"
"""The header of a SPDY SYN_STREAM (`streamType` in Kubernetes, in lower case on the wire) that says which channel."""


class Channel(IntEnum):
    """The first byte of a WebSocket message; over SPDY each is a stream, named in lower case by STREAM_TYPE."""

    STDIN = 0
    STDOUT = 1
    STDERR = 2
    ERROR = 3
    RESIZE = 4
    CLOSE = 255
    """v5 only: the next byte names the channel that the client has half-closed."""

    @property
    def stream_type(self) -> str:
        """The value of the `streamType` header."""
        return self.name.lower()


class ChannelError(ValueError):
    """What the client sent does not follow the subprotocol."""


class Message(Struct, frozen=True):
    """One WebSocket message: bytes for a channel, or, with `closed`, its end."""

    channel: Channel
    data: bytes = b""
    closed: bool = False


class TerminalSize(Struct, frozen=True, rename="pascal"):
    """client-go's TerminalSize, in characters: `{"Width":80,"Height":24}`."""

    width: int = 0
    height: int = 0


def has_status(protocol: str) -> bool:
    """Whether the error channel carries a metav1.Status (v4 and later) or a line of text, silent on success."""
    return protocol in (V4, V5, V4_BASE64)


def is_base64(protocol: str) -> bool:
    """Whether messages are text in base64."""
    return protocol in (V1_BASE64, V4_BASE64)


def has_resize(protocol: str) -> bool:
    """Whether a terminal can be resized: v3 and later."""
    return protocol in (V3, V4, V5, V4_BASE64)


def choose_protocol(offered: Sequence[str], known: Sequence[str]) -> str | None:
    """Return the first the client offers that we know, as upstream: the client's order decides. None: no common one."""
    return next((protocol for protocol in offered if protocol in known), None)


def decode_message(protocol: str, message: bytes) -> Message | None:
    """Read a binary WebSocket message of the client.

    None for what upstream passes over too (wsstream conn.go): an empty message, data on a channel that is not the
    client's to write, the end of one. Raises ChannelError for a close of v5 that does not name one channel.
    """
    if not message:
        return None
    number = message[0]
    if number == Channel.CLOSE and protocol == V5:
        if len(message) != 2:  # noqa: PLR2004 - the mark and the channel
            raise ChannelError(f"close of {message[1:]!r}: one channel is due")
        return Message(Channel.STDIN, closed=True) if message[1] == Channel.STDIN else None
    return Message(Channel(number), message[1:]) if number in (Channel.STDIN, Channel.RESIZE) else None


def decode_text_message(message: bytes) -> Message | None:
    """Read a message of a base64 subprotocol: the channel as a digit, then base64. As decode_message.

    Raises ChannelError for what is no base64.
    """
    if not message:
        return None
    try:
        data = b64decode(message[1:], validate=True)
    except ValueError as error:
        raise ChannelError(f"channel {message[:1]!r}: {error}") from error
    return decode_message(V4_BASE64, bytes(((message[0] - ord("0")) % 256,)) + data)


def encode_message(channel: Channel, data: bytes) -> bytes:
    """Return the binary WebSocket message that carries `data` to the client."""
    return bytes((channel,)) + data


def encode_text_message(channel: Channel, data: bytes) -> bytes:
    """Return the text message of a base64 subprotocol that carries `data` to the client."""
    return str(int(channel)).encode() + b64encode(data)


def exit_status(protocol: str, code: int) -> bytes:
    """Return what the error channel says of a command that ended by itself; empty when it says nothing (b"").

    From v4 on success is spoken too, and a code other than 0 is reason NonZeroExitCode with the cause ExitCode.
    """
    if not has_status(protocol):
        return b"" if code == 0 else f"command terminated with non-zero exit code: {code}".encode()
    if code == 0:
        return msgspec.json.encode({"metadata": {}, "status": "Success"})
    return msgspec.json.encode(
        {
            "metadata": {},
            "status": "Failure",
            "message": f"command terminated with non-zero exit code: exit status {code}",
            "reason": "NonZeroExitCode",
            "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
        }
    )


def error_status(protocol: str, message: str) -> bytes:
    """Return what the error channel says when the command could not be run or watched to its end (500)."""
    text = f"Internal error occurred: {message}"
    if not has_status(protocol):
        return text.encode()
    return msgspec.json.encode(
        {"metadata": {}, "status": "Failure", "message": text, "reason": "InternalError", "code": 500}
    )


class ResizeReader:
    """Sizes out of the resize channel: JSON values one after the other, cut anywhere (SPDY has no messages)."""

    MAX_PENDING = 4096

    def __init__(self) -> None:
        self._pending = b""

    def feed(self, data: bytes) -> list[TerminalSize]:
        """Return the sizes that are complete now; ChannelError for what is none."""
        *whole, self._pending = (self._pending + data).replace(b"}", b"}\0").split(b"\0")
        if len(self._pending) > self.MAX_PENDING:
            raise ChannelError(f"terminal size above {self.MAX_PENDING} bytes")
        try:
            return [_SIZE.decode(text) for text in whole]
        except msgspec.DecodeError as error:
            raise ChannelError(f"terminal size: {error}") from error


_SIZE = msgspec.json.Decoder(TerminalSize)
