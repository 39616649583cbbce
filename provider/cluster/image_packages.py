"""Debian packages as plain archives: which ones a layer needs, and their files, without installing anything.

apt resolves against an empty machine (a status file of our own) and downloads what it chose, checked as ever; no
maintainer script runs. A package named `without` is written into that status file as installed, so that neither it nor
what only it needs is chosen.
"""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from provider.cluster.build_command import BuildError, capture, run

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

_CHOSEN = re.compile(r"^Inst (\S+) (?:\[[^]]*\] )?\((\S+) .*\[(\S+)\]", re.MULTILINE)
_ADVICE = "check that apt's sources can be reached (apt-get update), then run it again"
_RESOLVE_SECONDS = 120
_DOWNLOAD_SECONDS = 1200


@dataclass(frozen=True, order=True)
class Package:
    """One version of one Debian package."""

    name: str
    version: str
    architecture: str

    @property
    def filename(self) -> str:
        """The name apt gives the downloaded archive."""
        return f"{self.name}_{self.version.replace(':', '%3a')}_{self.architecture}.deb"


class DebianPackages:
    """Resolves and downloads packages into the cache directory; refreshes apt's lists once if they are too old."""

    def __init__(self, cache: Path, report: Callable[[str], None]) -> None:
        self._directory = cache / "debian"
        self._log = cache / "logs" / "debian.log"
        self._report = report
        self._refreshed = False
        (self._directory / "archives" / "partial").mkdir(parents=True, exist_ok=True)

    def resolve(self, names: Sequence[str], without: Sequence[str]) -> list[Package]:
        """Return these packages and all they depend on, sorted."""
        status = self._directory / "status"
        status.write_text("".join(_installed(name) for name in sorted(without)))
        argv = ["apt-get", *self._options(), "--simulate", "--no-install-recommends", "install", *names]
        what = f"choosing the Debian packages for {', '.join(names)}"

        def simulate() -> str:
            return capture(argv, what=what, timeout=_RESOLVE_SECONDS, next_step=_ADVICE, env=_environment())

        return parse_chosen(self._with_fresh_lists(simulate))

    def download(self, packages: Sequence[Package]) -> list[Path]:
        """Return the archives of `packages`, in order; fetch those that the cache does not hold."""
        archives = self._directory / "archives"
        missing = [package for package in packages if not (archives / package.filename).exists()]
        if missing:
            argv = ["apt-get", *self._options(), "download"]
            argv += [f"{package.name}={package.version}" for package in missing]

            def fetch() -> str:
                run(
                    argv,
                    what=f"downloading {len(missing)} Debian packages",
                    log=self._log,
                    timeout=_DOWNLOAD_SECONDS,
                    next_step=_ADVICE,
                    cwd=archives,
                    env=_environment(),
                )
                return ""

            self._with_fresh_lists(fetch)
        return [archives / package.filename for package in packages]

    def _with_fresh_lists(self, attempt: Callable[[], str]) -> str:
        """Try; if that fails and the lists were not refreshed yet, run apt-get update and try once more."""
        try:
            return attempt()
        except BuildError:
            if self._refreshed:
                raise
        self._refreshed = True
        self._report("refreshing Debian's package lists")
        run(
            ["apt-get", "-q", "update"],
            what="apt-get update",
            log=self._log,
            timeout=_DOWNLOAD_SECONDS,
            next_step=_ADVICE,
            env=_environment(),
        )
        return attempt()

    def _options(self) -> list[str]:
        return [
            "-q",
            f"-oDir::State::status={self._directory / 'status'}",
            f"-oDir::Cache={self._directory}",
            "-oAPT::Sandbox::User=root",
            "-oDebug::NoLocking=1",
        ]


def parse_chosen(simulation: str) -> list[Package]:
    """Read the lines `Inst name (version origin [architecture])` of a simulated installation."""
    return sorted(Package(*match) for match in _CHOSEN.findall(simulation))


def open_archive(archive: Path) -> subprocess.Popen[bytes]:
    """Start dpkg-deb writing the files of a package as a tar stream to its standard output."""
    return subprocess.Popen(
        ["dpkg-deb", "--fsys-tarfile", str(archive)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    )


def _installed(name: str) -> str:
    """Return the status entry of a package that is taken for installed, at a version that satisfies any demand."""
    fields = ("Status: install ok installed", "Maintainer: none", "Architecture: all", "Multi-Arch: allowed")
    return "\n".join((f"Package: {name}", *fields, "Version: 9999:9999", "Description: taken for installed", "", ""))


def _environment() -> dict[str, str]:
    return os.environ | {"LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
