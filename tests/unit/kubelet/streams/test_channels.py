"""The remotecommand protocol: what a client's bytes mean, and what kubectl and client-go read from ours."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provider.kubelet.streams import channels as ch
from provider.kubelet.streams.channels import Channel, ChannelError, Message, ResizeReader, TerminalSize


def test_messages_of_a_client() -> None:
    assert ch.decode_message(ch.V4, b"\x00hello") == Message(Channel.STDIN, b"hello")
    assert ch.decode_message(ch.V5, b"\xff\x00") == Message(Channel.STDIN, closed=True)
    assert ch.decode_message(ch.V5, b"") is None
    assert ch.encode_message(Channel.STDERR, b"no") == b"\x02no"


@pytest.mark.parametrize(
    ("protocol", "message"),
    [(ch.V4, b"\xff\x00"), (ch.V5, b"\xff\x04"), (ch.V5, b"\x01x"), (ch.V4, b"\x09"), (ch.V1, b"\xff")],
)
def test_messages_that_upstream_passes_over(protocol: str, message: bytes) -> None:
    assert ch.decode_message(protocol, message) is None


@pytest.mark.parametrize("message", [b"\xff", b"\xff\x00\x00"])
def test_a_close_names_one_channel(message: bytes) -> None:
    with pytest.raises(ChannelError):
        ch.decode_message(ch.V5, message)


def test_base64_messages() -> None:
    assert ch.decode_text_message(b"0Zm9vCg==") == Message(Channel.STDIN, b"foo\n")
    assert ch.decode_text_message(b"4e30=") == Message(Channel.RESIZE, b"{}")
    assert ch.decode_text_message(b"1Zm9v") is ch.decode_text_message(b"\x00") is ch.decode_text_message(b"") is None
    assert ch.encode_text_message(Channel.STDOUT, b"\n") == b"1Cg=="
    with pytest.raises(ChannelError):
        ch.decode_text_message(b"0Zm9v!")


def test_exit_code_as_client_go_reads_it() -> None:
    status = json.loads(ch.exit_status(ch.V4, 42))
    assert (status["status"], status["reason"]) == ("Failure", "NonZeroExitCode")
    assert status["details"]["causes"] == [{"reason": "ExitCode", "message": "42"}]
    assert json.loads(ch.exit_status(ch.V5, 0))["status"] == "Success"


def test_before_v4_success_is_silent_and_failure_is_text() -> None:
    assert ch.exit_status(ch.V1, 0) == b""
    assert b"42" in ch.exit_status(ch.V3, 42)
    assert ch.error_status(ch.V1, "gone") == b"Internal error occurred: gone"


def test_an_error_has_no_exit_code() -> None:
    status = json.loads(ch.error_status(ch.V4, "engine away"))
    text = "Internal error occurred: engine away"
    assert (status["reason"], status["code"], status["message"]) == ("InternalError", 500, text)
    assert "details" not in status


def test_the_clients_order_decides_the_protocol() -> None:
    assert ch.choose_protocol(["v9", ch.V3, ch.V4], ch.SPDY_PROTOCOLS) == ch.V3
    assert ch.choose_protocol(["v9"], ch.SPDY_PROTOCOLS) is None


def test_which_protocols_resize() -> None:
    assert [ch.has_resize(p) for p in (ch.V1, ch.V2, ch.V3, ch.V4, ch.V5)] == [False, False, True, True, True]


@given(st.lists(st.tuples(st.integers(0, 9999), st.integers(0, 9999)), max_size=5), st.integers(1, 70))
def test_sizes_are_read_however_they_are_cut(sizes: list[tuple[int, int]], cut: int) -> None:
    wire = b"".join(b'{"Width":%d,"Height":%d}\n' % size for size in sizes)
    reader = ResizeReader()
    read = [size for i in range(0, len(wire), cut) for size in reader.feed(wire[i : i + cut])]
    assert read == [TerminalSize(width, height) for width, height in sizes]


@pytest.mark.parametrize("wire", [b'{"Width":"x"}', b"}", b"{" * 5000])
def test_sizes_that_are_none(wire: bytes) -> None:
    with pytest.raises(ChannelError):
        ResizeReader().feed(wire)
