"""Which blocks other installations of this machine have chosen, whose networks are perhaps not there yet.

Between the choice and the networks minutes may pass; a second `up` meanwhile would choose the same. So a choice is made
under a lock, and written beside it. A claim holds while the state directory of its installation is there.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import structlog

from provider.cloud.addresses.free_blocks import Occupied, occupied

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["BlockClaims"]

log = structlog.get_logger(__name__)

_DIRECTORY = "/run/zonelet/blocks"
"""Gone after a restart of the machine, as every network that somebody is about to make."""


class _Claim(msgspec.Struct, frozen=True):
    state: str
    blocks: tuple[str, ...]


class BlockClaims:
    """The claims of this machine, as the installation in the directory `state` sees them.

    `directory`: where they are; $ZONELET_CLAIMS_DIR or /run/zonelet/blocks. One that cannot be written is said so, and
    then nobody knows of anybody.
    """

    def __init__(self, state: Path, directory: Path | None = None) -> None:
        self._state = str(state.absolute())
        self._directory = directory or Path(os.environ.get("ZONELET_CLAIMS_DIR") or _DIRECTORY)
        self._own = self._directory / f"{sha256(self._state.encode()).hexdigest()[:16]}.json"

    @contextmanager
    def choosing(self) -> Iterator[tuple[Occupied, ...]]:
        """Give the others' blocks, and keep them from choosing while the context lasts: do not wait in it."""
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            lock = (self._directory / "lock").open("w")
        except OSError as error:
            log.warning("block_claims.cannot_be_kept", directory=str(self._directory), error=str(error))
            yield ()
            return
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield self._others()

    def keep(self, blocks: Iterable[str]) -> None:
        """Claim these blocks and no others; within `choosing`."""
        if self._directory.is_dir() and os.access(self._directory, os.W_OK):
            self._own.write_bytes(msgspec.json.encode(_Claim(self._state, tuple(blocks))))

    def give_up(self) -> None:
        """Claim nothing any more: the installation is taken down."""
        self._own.unlink(missing_ok=True)

    def _others(self) -> tuple[Occupied, ...]:
        found: list[tuple[str, str]] = []
        for path in self._directory.glob("*.json"):
            try:
                claim = msgspec.json.decode(path.read_bytes(), type=_Claim)
            except FileNotFoundError:  # given up this moment, which takes no lock
                continue
            except msgspec.MsgspecError:  # whoever wrote it was killed, and has not begun to use it
                claim = _Claim("", ())
            if not claim.state or not Path(claim.state).exists():
                path.unlink(missing_ok=True)
            elif claim.state != self._state:
                found += [(block, f"the installation in {claim.state}") for block in claim.blocks]
        return occupied(found)
