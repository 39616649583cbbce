"""One provider for an installation: two would act on the same containers.

The state directory is held by a file lock. The name, by which the engine's objects are known, by an abstract socket of
this machine: another state directory does not make another installation. The kernel lets go of both with the process.
"""

from __future__ import annotations

import fcntl
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["TakenError", "hold", "is_held"]


class TakenError(Exception):
    """Another provider serves the installation: which one, and what to do about it."""


@contextmanager
def hold(name: str, state: Path) -> Iterator[None]:
    """Hold the installation while the context lasts. TakenError.

    The state directory is closed to other users: keys, and the Secrets and tokens of pods, are below it.
    """
    state.mkdir(parents=True, exist_ok=True)
    state.chmod(0o700)
    path = state / "provider.lock"
    with path.open("w") as file, socket.socket(socket.AF_UNIX) as holder:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise TakenError(
                f"another provider serves this installation already (it holds {path}); end it, or give this one "
                "another --name"
            ) from None
        try:
            holder.bind(_address(name))
        except OSError:
            raise TakenError(
                f"another provider of this machine serves an installation {name} already, from another state directory "
                f"than {state}; end it, or give this one another --name"
            ) from None
        yield


def is_held(name: str) -> bool:
    """Return whether a provider of this machine serves an installation of that name, from whatever directory."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.bind(_address(name))
        except OSError:
            return True
    return False


def _address(name: str) -> str:
    return f"\0zonelet-provider/{name}"
