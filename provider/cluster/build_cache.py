"""The cache directory: what is in it is whole, was built once, and is named by the hash of what it was built from.

<cache>/<kind>/<name>-<key>/   one built thing; it appears by a rename, so it is either whole or not there
<cache>/logs/<name>.log        the output of the latest attempt
<cache>/locks/<name>.lock      held while a thing is built, so that two runs do not build it twice
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from provider.cluster.build_command import BuildError
from provider.cluster.termination import end_if_asked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_KEY_LENGTH = 16
_LOCK_SECONDS = 3600


def cache_root() -> Path:
    """Return the cache directory: $ZONELET_CACHE_DIR, or ~/.cache/zonelet."""
    configured = os.environ.get("ZONELET_CACHE_DIR")
    return Path(configured).absolute() if configured else Path.home() / ".cache" / "zonelet"


def content_key(*parts: str, tree: Path | None = None) -> str:
    """Hash `parts` and, with their relative names, all files of `tree`."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(f"{len(part)}:{part}".encode())
    if tree is not None:
        for path in sorted(path for path in tree.rglob("*") if path.is_file()):
            content = path.read_bytes()
            digest.update(f"{path.relative_to(tree)}:{len(content)}:".encode())
            digest.update(content)
    return digest.hexdigest()[:_KEY_LENGTH]


def cached(
    cache: Path, kind: str, name: str, key: str, make: Callable[[Path], None], report: Callable[[str], None]
) -> Path:
    """Return `<cache>/<kind>/<name>-<key>`; if it is not there, let `make` fill a new directory that becomes it."""
    final = cache / kind / f"{name}-{key}"
    if final.is_dir():
        return final
    with exclusive(cache, name, report):
        if final.is_dir():
            return final
        final.parent.mkdir(parents=True, exist_ok=True)
        for left_over in final.parent.glob(f".{name}-*.part"):
            shutil.rmtree(left_over)
        part = final.parent / f".{name}-{key}.part"
        part.mkdir()
        try:
            make(part)
            part.rename(final)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    return final


@contextmanager
def exclusive(cache: Path, name: str, report: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock `name`; say so when another process has it, and wait for that one at most an hour."""
    path = cache / "locks" / f"{name}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        pause = threading.Event()
        for second in range(_LOCK_SECONDS):
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if second == 0:
                    report(f"{name}: another process makes it right now, waiting for that one")
                end_if_asked()
                pause.wait(1.0)
        else:
            raise BuildError(
                f"{name} is still being made by another process after an hour",
                f"that process holds the lock {path}",
                "end that process, then run the command again",
            )
        yield
