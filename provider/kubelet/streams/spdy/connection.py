"""One SPDY/3.1 connection without I/O: bytes in, frames out, and the other way round."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from provider.kubelet.streams.spdy import frames as f
from provider.kubelet.streams.spdy.errors import LocalProtocolError, RemoteProtocolError
from provider.kubelet.streams.spdy.headers import HeaderCompressor, HeaderDecompressor

_HEAD: Final = 8
_MAX_LENGTH: Final = 0xFFFFFF
_HEADER_OFFSET: Final = {f.FrameType.SYN_STREAM: 10, f.FrameType.SYN_REPLY: 4, f.FrameType.HEADERS: 4}


class _Stream(Struct):
    """Which directions are open, and how many bytes each may still carry."""

    ours: bool
    send_open: bool
    receive_open: bool
    send_window: int
    receive_window: int
    replied: bool = False


class SpdyConnection:
    """State of a connection: feed `receive_data`, write what `send` returns, in the order of the calls.

    `flow_control` False is for peers that never send WINDOW_UPDATE: the library under client-go and the API server
    (moby/spdystream) reads these frames and drops them, so a sender that minds the window stops after 64 KiB for ever.
    `max_frame` bounds a frame's payload, `max_headers` a header block's uncompressed bytes.
    Answers (SYN_REPLY, the echo of a PING, WINDOW_UPDATE) are the caller's: nothing is sent behind its back.
    """

    def __init__(
        self, *, client: bool = False, flow_control: bool = True, max_frame: int = 1 << 20, max_headers: int = 1 << 14
    ) -> None:
        self._client = client
        self._flow_control = flow_control
        self._max_frame = min(max_frame, _MAX_LENGTH)
        self._compressor = HeaderCompressor(max_headers)
        self._decompressor = HeaderDecompressor(max_headers)
        self._buffer = bytearray()
        self._streams: dict[int, _Stream] = {}
        self._last_sent = 0
        self._last_received = 0
        self._initial_send_window = f.INITIAL_WINDOW
        self._initial_receive_window = f.INITIAL_WINDOW
        self._send_window = f.INITIAL_WINDOW
        self._receive_window = f.INITIAL_WINDOW
        self._going_away = False
        self._peer_going_away = False
        self._broken = ""

    @property
    def last_received_stream_id(self) -> int:
        """The highest stream that the peer opened: what a GOAWAY of ours names."""
        return self._last_received

    def next_stream_id(self) -> int:
        """Return the id for our next SYN_STREAM: odd for the client, even for the server."""
        return self._last_sent + 2 if self._last_sent else (1 if self._client else 2)

    def is_open(self, stream_id: int) -> bool:
        """Whether either direction of the stream is still open."""
        return stream_id in self._streams

    def send_capacity(self, stream_id: int) -> int:
        """Return how many bytes of DATA may be sent on the stream in one frame now; 0 when it must wait or is shut."""
        stream = self._streams.get(stream_id)
        if stream is None or not stream.send_open or not (stream.ours or stream.replied):
            return 0
        if not self._flow_control:
            return self._max_frame
        return max(0, min(stream.send_window, self._send_window, self._max_frame))

    # Receiving

    def receive_data(self, data: bytes) -> list[f.Frame]:
        """Take bytes of any number and return the frames they complete.

        Raises RemoteProtocolError, then and at every later call.
        """
        if self._broken:
            raise RemoteProtocolError(self._broken)
        self._buffer += data
        received: list[f.Frame] = []
        start = 0
        try:
            while len(self._buffer) - start >= _HEAD:
                length = int.from_bytes(self._buffer[start + 5 : start + 8], "big")
                if length > self._max_frame:
                    raise RemoteProtocolError(f"frame of {length} bytes, {self._max_frame} are allowed")  # noqa: TRY301
                end = start + _HEAD + length
                if len(self._buffer) < end:
                    break
                head = int.from_bytes(self._buffer[start : start + 4], "big")
                frame = self._read(head, self._buffer[start + 4], bytes(self._buffer[start + _HEAD : end]))
                if frame is not None:
                    received.append(frame)
                start = end
        except RemoteProtocolError as error:
            self._broken = str(error)
            error.frames = tuple(received)
            raise
        del self._buffer[:start]
        return received

    def _read(self, head: int, flags: int, payload: bytes) -> f.Frame | None:
        if not head & 0x80000000:
            return self._data_received(f.Data(head, payload, bool(flags & f.FLAG_FIN)))
        if (head >> 16) & 0x7FFF != f.VERSION:
            raise RemoteProtocolError(f"SPDY version {(head >> 16) & 0x7FFF}, only 3 is spoken here")
        try:
            kind = f.FrameType(head & 0xFFFF)
        except ValueError:
            return None  # The draft, 2.2.1: a control frame of an unknown type is skipped.
        if kind in _HEADER_OFFSET:
            return self._read_headers(kind, flags, payload)
        if kind is f.FrameType.SETTINGS:
            return self._read_settings(flags, payload)
        size = 4 if kind is f.FrameType.PING else 8
        if len(payload) != size:
            raise RemoteProtocolError(f"{kind.name} of {len(payload)} bytes, {size} are due")
        first = int.from_bytes(payload[:4], "big")
        second = int.from_bytes(payload[4:], "big")
        if kind is f.FrameType.PING:
            return f.Ping(first)
        first &= f.MAX_STREAM_ID
        if kind is f.FrameType.GOAWAY:
            self._peer_going_away = True
            return f.GoAway(first, second)
        if kind is f.FrameType.RST_STREAM:
            self._known_or_past(first, kind.name)
            return f.RstStream(first, second) if self._streams.pop(first, None) else None
        return self._window_update_received(first, second & f.MAX_WINDOW)

    def _read_headers(self, kind: f.FrameType, flags: int, payload: bytes) -> f.Frame | None:
        offset = _HEADER_OFFSET[kind]
        if len(payload) < offset:
            raise RemoteProtocolError(f"{kind.name} of {len(payload)} bytes")
        stream_id = int.from_bytes(payload[:4], "big") & f.MAX_STREAM_ID
        headers = self._decompressor.decompress(payload[offset:])
        fin = bool(flags & f.FLAG_FIN)
        if kind is f.FrameType.SYN_STREAM:
            unidirectional = bool(flags & f.FLAG_UNIDIRECTIONAL)
            associated = int.from_bytes(payload[4:8], "big") & f.MAX_STREAM_ID
            opened = f.SynStream(stream_id, headers, fin, unidirectional, associated, payload[8] >> 5)
            return self._syn_stream_received(opened)
        self._known_or_past(stream_id, kind.name)
        stream = self._streams.get(stream_id)
        if stream is None:
            return None
        if not stream.receive_open:
            raise RemoteProtocolError(f"{kind.name} on stream {stream_id} after its end")
        if kind is f.FrameType.SYN_REPLY:
            if not stream.ours or stream.replied:
                raise RemoteProtocolError(f"SYN_REPLY on stream {stream_id} that waits for none")
            stream.replied = True
        self._close(stream_id, receive=fin)
        return (
            f.SynReply(stream_id, headers, fin) if kind is f.FrameType.SYN_REPLY else f.Headers(stream_id, headers, fin)
        )

    def _syn_stream_received(self, frame: f.SynStream) -> f.Frame:
        stream_id = frame.stream_id
        if stream_id % 2 != (0 if self._client else 1) or stream_id <= self._last_received:
            raise RemoteProtocolError(f"SYN_STREAM with id {stream_id} after {self._last_received}")
        self._last_received = stream_id
        self._open(stream_id, ours=False, send=not frame.unidirectional, receive=not frame.fin)
        return frame

    def _data_received(self, frame: f.Data) -> f.Frame | None:
        self._known_or_past(frame.stream_id, "DATA")
        if self._flow_control:
            self._receive_window -= len(frame.data)
            if self._receive_window < 0:
                raise RemoteProtocolError("more DATA than the connection's window")
        stream = self._streams.get(frame.stream_id)
        if stream is None:
            return None  # On its way when we reset the stream.
        if not stream.receive_open:
            raise RemoteProtocolError(f"DATA on stream {frame.stream_id} after its end")
        if self._flow_control:
            stream.receive_window -= len(frame.data)
            if stream.receive_window < 0:
                raise RemoteProtocolError(f"more DATA than the window of stream {frame.stream_id}")
        self._close(frame.stream_id, receive=frame.fin)
        return frame

    def _read_settings(self, flags: int, payload: bytes) -> f.Settings:
        count = int.from_bytes(payload[:4], "big")
        if len(payload) != 4 + 8 * count:
            raise RemoteProtocolError(f"SETTINGS of {len(payload)} bytes with {count} entries")
        entries = []
        for at in range(4, len(payload), 8):
            value = int.from_bytes(payload[at + 4 : at + 8], "big")
            entries.append((int.from_bytes(payload[at + 1 : at + 4], "big"), payload[at], value))
            if entries[-1][0] == f.SETTINGS_INITIAL_WINDOW_SIZE:
                if value > f.MAX_WINDOW:
                    raise RemoteProtocolError(f"initial window of {value} bytes")
                for stream in self._streams.values():
                    stream.send_window += value - self._initial_send_window
                self._initial_send_window = value
        return f.Settings(tuple(entries), bool(flags & 1))

    def _window_update_received(self, stream_id: int, delta: int) -> f.Frame | None:
        if delta == 0:
            raise RemoteProtocolError("WINDOW_UPDATE of 0")
        if stream_id == 0:
            self._send_window += delta
            window = self._send_window
        else:
            self._known_or_past(stream_id, "WINDOW_UPDATE")
            stream = self._streams.get(stream_id)
            if stream is None:
                return None
            stream.send_window += delta
            window = stream.send_window
        if window > f.MAX_WINDOW:
            raise RemoteProtocolError(f"window of stream {stream_id} above 2^31 - 1")
        return f.WindowUpdate(stream_id, delta)

    def _known_or_past(self, stream_id: int, what: str) -> None:
        ours = stream_id % 2 == (1 if self._client else 0)
        if not 0 < stream_id <= (self._last_sent if ours else self._last_received):
            raise RemoteProtocolError(f"{what} on stream {stream_id} that was never opened")

    # Sending

    def send(self, frame: f.Frame) -> bytes:
        """Return the bytes of a frame and note what it does to the streams; LocalProtocolError if it is not allowed."""
        match frame:
            case f.Data():
                return self._send_data(frame)
            case f.SynStream():
                return self._send_syn_stream(frame)
            case f.SynReply() | f.Headers():
                return self._send_headers(frame)
            case f.RstStream():
                self._sendable(frame.stream_id)
                del self._streams[frame.stream_id]
                return f.control_frame(f.FrameType.RST_STREAM, f.words(frame.stream_id, frame.status))
            case f.Settings():
                return self._send_settings(frame)
            case f.Ping():
                return f.control_frame(f.FrameType.PING, f.words(frame.ping_id))
            case f.GoAway():
                self._going_away = True
                return f.control_frame(f.FrameType.GOAWAY, f.words(frame.last_stream_id, frame.status))
            case f.WindowUpdate():
                return self._send_window_update(frame)

    def _send_data(self, frame: f.Data) -> bytes:
        stream = self._sendable(frame.stream_id, direction=True)
        if not (stream.ours or stream.replied):
            raise LocalProtocolError(f"DATA on stream {frame.stream_id} before its SYN_REPLY")
        if len(frame.data) > self.send_capacity(frame.stream_id):
            raise LocalProtocolError(f"{len(frame.data)} bytes of DATA, {self.send_capacity(frame.stream_id)} may go")
        stream.send_window -= len(frame.data)
        self._send_window -= len(frame.data)
        self._close(frame.stream_id, send=frame.fin)
        return f.data_frame(frame)

    def _send_syn_stream(self, frame: f.SynStream) -> bytes:
        if self._peer_going_away or self._going_away:
            raise LocalProtocolError("no new stream after GOAWAY")
        if (
            frame.stream_id % 2 != (1 if self._client else 0)
            or not self._last_sent < frame.stream_id <= f.MAX_STREAM_ID
        ):
            raise LocalProtocolError(f"SYN_STREAM with id {frame.stream_id} after {self._last_sent}")
        if not 0 <= frame.priority <= 7:  # noqa: PLR2004 - three bits
            raise LocalProtocolError(f"priority {frame.priority}")
        block = self._compressor.compress(frame.headers)
        self._last_sent = frame.stream_id
        self._open(frame.stream_id, ours=True, send=not frame.fin, receive=not frame.unidirectional)
        flags = (f.FLAG_FIN if frame.fin else 0) | (f.FLAG_UNIDIRECTIONAL if frame.unidirectional else 0)
        payload = f.words(frame.stream_id, frame.associated_id) + bytes((frame.priority << 5, 0)) + block
        return f.control_frame(f.FrameType.SYN_STREAM, payload, flags)

    def _send_headers(self, frame: f.SynReply | f.Headers) -> bytes:
        stream = self._sendable(frame.stream_id, direction=True)
        reply = isinstance(frame, f.SynReply)
        if reply and (stream.ours or stream.replied):
            raise LocalProtocolError(f"SYN_REPLY on stream {frame.stream_id} that waits for none")
        block = self._compressor.compress(frame.headers)
        if reply:
            stream.replied = True
        self._close(frame.stream_id, send=frame.fin)
        kind = f.FrameType.SYN_REPLY if reply else f.FrameType.HEADERS
        return f.control_frame(kind, f.words(frame.stream_id) + block, f.FLAG_FIN if frame.fin else 0)

    def _send_settings(self, frame: f.Settings) -> bytes:
        payload = f.words(len(frame.entries))
        for setting, flags, value in frame.entries:
            payload += bytes((flags,)) + setting.to_bytes(3, "big") + f.words(value)
            if setting == f.SETTINGS_INITIAL_WINDOW_SIZE:
                for stream in self._streams.values():
                    stream.receive_window += value - self._initial_receive_window
                self._initial_receive_window = value
        return f.control_frame(f.FrameType.SETTINGS, payload, int(frame.clear))

    def _send_window_update(self, frame: f.WindowUpdate) -> bytes:
        if not 0 < frame.delta <= f.MAX_WINDOW:
            raise LocalProtocolError(f"WINDOW_UPDATE of {frame.delta}")
        if frame.stream_id == 0:
            self._receive_window += frame.delta
        else:
            self._sendable(frame.stream_id).receive_window += frame.delta
        return f.control_frame(f.FrameType.WINDOW_UPDATE, f.words(frame.stream_id, frame.delta))

    def _sendable(self, stream_id: int, *, direction: bool = False) -> _Stream:
        stream = self._streams.get(stream_id)
        if stream is None or (direction and not stream.send_open):
            raise LocalProtocolError(f"stream {stream_id} is not open")
        return stream

    # Both

    def _open(self, stream_id: int, *, ours: bool, send: bool, receive: bool) -> None:
        if send or receive:
            windows = (self._initial_send_window, self._initial_receive_window)
            self._streams[stream_id] = _Stream(ours, send, receive, *windows)

    def _close(self, stream_id: int, *, send: bool = False, receive: bool = False) -> None:
        """Half-close; a stream that is shut both ways is forgotten."""
        stream = self._streams[stream_id]
        stream.send_open = stream.send_open and not send
        stream.receive_open = stream.receive_open and not receive
        if not (stream.send_open or stream.receive_open):
            del self._streams[stream_id]
