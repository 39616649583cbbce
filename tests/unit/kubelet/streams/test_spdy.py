"""The SPDY codec: both ends of it talk, in pieces of any size; broken bytes are refused by name."""

from __future__ import annotations

import hashlib
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provider.kubelet.streams.spdy import frames as f
from provider.kubelet.streams.spdy.connection import SpdyConnection
from provider.kubelet.streams.spdy.errors import LocalProtocolError, RemoteProtocolError
from provider.kubelet.streams.spdy.headers import DICTIONARY


def pair(**options: bool | int) -> tuple[SpdyConnection, SpdyConnection]:
    return SpdyConnection(client=True, **options), SpdyConnection(**options)


def opened() -> tuple[SpdyConnection, SpdyConnection]:
    client, server = pair()
    server.receive_data(client.send(f.SynStream(1)))
    client.receive_data(server.send(f.SynReply(1)))
    return client, server


def test_the_dictionary_is_the_drafts() -> None:
    assert hashlib.sha256(DICTIONARY).hexdigest() == "51d27341373f923f3cd88e1eb7162aeaa3723d7585ff2399201dc06498407f02"
    assert zlib.adler32(DICTIONARY) == 0xE3C6A7C2


def test_layout_of_frames_without_headers() -> None:
    client, server = opened()
    assert client.send(f.Ping(5)).hex() == "8003000600000004" + "00000005"
    assert client.send(f.Data(1, b"ab", fin=True)).hex() == "0000000101000002" + "6162"
    assert server.send(f.RstStream(1, f.ResetStatus.CANCEL)).hex() == "8003000300000008" + "0000000100000005"
    assert server.send(f.GoAway(1)).hex() == "8003000700000008" + "0000000100000000"


names = st.text("abcdefghij-", min_size=1, max_size=9)
headers = st.dictionaries(names, st.text("abc XYZ\0", max_size=40), max_size=5).map(lambda d: tuple(d.items()))
script = st.lists(
    st.one_of(
        st.builds(lambda h, p: f.SynStream(0, h, priority=p), headers, st.integers(0, 7)),
        st.builds(lambda h: f.Headers(1, h), headers),
        st.builds(lambda d: f.Data(1, d), st.binary(max_size=200)),
        st.builds(f.Ping, st.integers(0, 2**32 - 1)),
        st.builds(lambda d: f.WindowUpdate(0, d), st.integers(1, 1000)),
        st.builds(
            lambda e: f.Settings(tuple(e)), st.lists(st.tuples(st.integers(1, 6), st.just(0), st.integers(0, 9)))
        ),
    ),
    max_size=12,
)


@given(script, st.integers(1, 50))
def test_what_one_end_sends_the_other_reads_in_pieces_of_any_size(frames: list[f.Frame], size: int) -> None:
    client, server = pair()
    sent: list[f.Frame] = [f.SynStream(1, (("streamtype", "stdin"),))]
    wire = client.send(sent[0])
    for frame in frames:
        if isinstance(frame, f.SynStream):
            frame = f.SynStream(client.next_stream_id(), frame.headers, priority=frame.priority)  # noqa: PLW2901
        sent.append(frame)
        wire += client.send(frame)
    assert SpdyConnection().receive_data(wire) == sent
    assert [x for i in range(0, len(wire), size) for x in server.receive_data(wire[i : i + size])] == sent
    assert [x for other in [SpdyConnection()] for byte in wire for x in other.receive_data(bytes((byte,)))] == sent


@given(st.binary(max_size=60))
def test_any_bytes_give_frames_or_a_protocol_error(noise: bytes) -> None:
    server = SpdyConnection()
    try:
        server.receive_data(noise)
    except RemoteProtocolError as error:
        with pytest.raises(RemoteProtocolError) as again:
            server.receive_data(b"")
        assert str(again.value) == str(error)  # noqa: PT017 - either way is right


def test_half_close_leaves_the_other_direction_open() -> None:
    client, server = opened()
    server.receive_data(client.send(f.Data(1, b"", fin=True)))
    assert server.is_open(1)
    with pytest.raises(LocalProtocolError):
        client.send(f.Data(1, b"late"))
    assert client.receive_data(server.send(f.Data(1, b"out", fin=True))) == [f.Data(1, b"out", fin=True)]
    assert not server.is_open(1)
    assert not client.is_open(1)


def test_flow_control_counts_stream_and_connection() -> None:
    client, server = opened()
    server.receive_data(client.send(f.Data(1, bytes(f.INITIAL_WINDOW))))
    assert client.send_capacity(1) == 0
    with pytest.raises(LocalProtocolError):
        client.send(f.Data(1, b"x"))
    client.receive_data(server.send(f.WindowUpdate(1, 10)))
    assert client.send_capacity(1) == 0
    client.receive_data(server.send(f.WindowUpdate(0, 7)))
    assert client.send_capacity(1) == 7


def test_a_peer_that_minds_no_window_is_refused_only_with_flow_control() -> None:
    for flow_control in (True, False):
        client = SpdyConnection(client=True, flow_control=False)
        server = SpdyConnection(flow_control=flow_control)
        wire = client.send(f.SynStream(1)) + client.send(f.Data(1, bytes(f.INITIAL_WINDOW + 1)))
        if flow_control:
            with pytest.raises(RemoteProtocolError, match="window") as error:
                server.receive_data(wire)
            assert error.value.frames == (f.SynStream(1),)
        else:
            assert len(server.receive_data(wire)) == 2


def test_the_initial_window_of_settings_moves_open_streams() -> None:
    client, server = opened()
    client.receive_data(server.send(f.Settings(((f.SETTINGS_INITIAL_WINDOW_SIZE, 0, 100),))))
    assert client.send_capacity(1) == 100


def test_data_of_a_stream_that_we_reset_is_dropped() -> None:
    client, server = opened()
    late = client.send(f.Data(1, b"late"))
    server.send(f.RstStream(1, f.ResetStatus.CANCEL))
    assert server.receive_data(late) == []


def test_a_header_bomb_and_a_huge_frame_are_refused() -> None:
    client = SpdyConnection(client=True, max_headers=1 << 20)
    with pytest.raises(RemoteProtocolError, match="above 16384"):
        SpdyConnection().receive_data(client.send(f.SynStream(1, (("a", "x" * 100_000),))))
    with pytest.raises(RemoteProtocolError, match="are allowed"):
        SpdyConnection(max_frame=100).receive_data(bytes.fromhex("0000000100000065"))


@pytest.mark.parametrize(
    ("wire", "words"),
    [
        ("8002000600000004" + "00000001", "version 2"),
        ("8003000600000003" + "000001", "PING of 3"),
        ("8003000400000008" + "0000000200000000", "SETTINGS"),
        ("8003000900000008" + "0000000000000000", "WINDOW_UPDATE of 0"),
        ("8003000900000008" + "000000007fffffff", "above"),
        ("0000000100000001" + "00", "never opened"),
        ("800300010000000e" + "0000000100000000" + "0000" + "ffffffff", "decompress"),
        ("8003000100000002" + "0000", "SYN_STREAM of 2"),
    ],
)
def test_broken_frames(wire: str, words: str) -> None:
    with pytest.raises(RemoteProtocolError, match=words):
        SpdyConnection().receive_data(bytes.fromhex(wire))


def test_an_unknown_control_frame_is_skipped() -> None:
    assert SpdyConnection().receive_data(bytes.fromhex("8003006300000001" + "00")) == []


@pytest.mark.parametrize(
    "frame",
    [
        f.SynStream(2),
        f.SynStream(3, (("A", ""),)),
        f.SynStream(3, (("a", "\u20ac"),)),
        f.SynReply(9),
        f.WindowUpdate(0, 0),
    ],
)
def test_what_we_may_not_send(frame: f.Frame) -> None:
    client, _ = opened()
    with pytest.raises(LocalProtocolError):
        client.send(frame)


def test_a_stream_id_is_not_used_twice() -> None:
    client, server = opened()
    client._last_sent = 0
    with pytest.raises(RemoteProtocolError, match="after 1"):
        server.receive_data(client.send(f.SynStream(1)))


def test_no_stream_is_opened_after_goaway() -> None:
    client, server = opened()
    client.receive_data(server.send(f.GoAway(server.last_received_stream_id)))
    with pytest.raises(LocalProtocolError, match="GOAWAY"):
        client.send(f.SynStream(client.next_stream_id()))
