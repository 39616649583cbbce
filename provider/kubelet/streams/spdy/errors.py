"""What can go wrong in a SPDY connection: our own misuse, or the peer's."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from provider.kubelet.streams.spdy.frames import Frame


class LocalProtocolError(Exception):
    """We tried to send what the protocol forbids now; the connection's state is as before the attempt."""


class RemoteProtocolError(Exception):
    """The peer broke the protocol: the connection is of no more use.

    `frames` holds what the same call to `receive_data` had read before the broken frame.
    """

    def __init__(self, message: str, frames: tuple[Frame, ...] = ()) -> None:
        super().__init__(message)
        self.frames = frames
