"""Files of the state directory that are written whole or not at all: `down` has to be able to read them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["remove_whole", "write_whole"]


def write_whole(path: Path, content: bytes) -> None:
    """Write the file by a rename: on a full disk, or killed meanwhile, the former one stays as it was. OSError."""
    part = _part(path)
    part.write_bytes(content)
    part.replace(path)


def remove_whole(path: Path) -> None:
    """Remove the file, and what a killed `write_whole` of it has left. Neither has to be there."""
    path.unlink(missing_ok=True)
    _part(path).unlink(missing_ok=True)


def _part(path: Path) -> Path:
    return path.with_name(f"{path.name}.part")
