"""Layers are tar files that come out the same each time, with a merged /usr."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tarfile
from typing import TYPE_CHECKING

import pytest

from provider.cluster.image_catalog import Layer
from provider.cluster.image_layers import is_kept, merged, write_layer
from provider.cluster.image_packages import parse_chosen

if TYPE_CHECKING:
    from pathlib import Path


def contents(path: Path) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(path) as tar:
        return {entry.name: entry for entry in tar}


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package with a program in /bin, documents, a certificate and a Python module."""
    root = tmp_path / "root"
    files = {
        "DEBIAN/control": "Package: x\nVersion: 1\nArchitecture: all\nMaintainer: x <x@x>\nDescription: x\n",
        "bin/x": "program",
        "usr/share/doc/x/copyright": "free",
        "usr/share/doc/x/changelog": "long",
        "usr/share/man/man1/x.1": "long",
        "usr/share/ca-certificates/a.crt": "A\n",
        "usr/share/ca-certificates/b.crt": "B\n",
        f"usr/lib/python3.{sys.version_info.minor}/x.py": "answer = 42\n",
    }
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (root / "bin" / "x").chmod(0o4755)
    (root / "bin" / "y").symlink_to("x")
    (root / "bin" / "z").hardlink_to(root / "bin" / "x")
    archive = tmp_path / "x_1_all.deb"
    subprocess.run(
        ["dpkg-deb", "--root-owner-group", "--build", str(root), str(archive)], check=True, capture_output=True
    )
    return archive


def test_a_package_becomes_a_layer(package: Path, tmp_path: Path) -> None:
    built = write_layer(Layer(packages=["x"]), [package], {}, tmp_path / "layer.tar")
    entries = contents(built.path)
    assert built.diff_id.startswith("sha256:")
    assert entries["usr/bin/x"].mode == 0o4755
    assert entries["usr/bin/y"].linkname == "x"
    assert {entries["usr/bin/x"].linkname, entries["usr/bin/z"].linkname} <= {"", "usr/bin/x", "usr/bin/z"}
    assert "usr/share/doc/x/copyright" in entries
    assert "usr/share/doc/x/changelog" not in entries
    assert "usr/share/man/man1/x.1" not in entries
    assert not {"bin", "bin/x"} & entries.keys()
    assert {entry.mtime for entry in entries.values()} == {0}


def test_the_same_input_makes_the_same_layer(package: Path, tmp_path: Path) -> None:
    layer = Layer(packages=["x"], text={"/etc/x": "y"}, compiled=True)
    first = write_layer(layer, [package], {}, tmp_path / "1.tar")
    assert write_layer(layer, [package], {}, tmp_path / "2.tar").diff_id == first.diff_id


def test_what_maintainer_scripts_would_make(package: Path, tmp_path: Path) -> None:
    layer = Layer(packages=["x"], certificates=True, compiled=True)
    built = write_layer(layer, [package], {}, tmp_path / "layer.tar")
    with tarfile.open(built.path) as tar:
        bundle = tar.extractfile("etc/ssl/certs/ca-certificates.crt")
        assert bundle is not None
        assert bundle.read() == b"A\nB\n"
        name = importlib.util.cache_from_source(f"usr/lib/python3.{sys.version_info.minor}/x.py")
        byte_code = tar.extractfile(name)
        assert byte_code is not None
        assert byte_code.read(4) == importlib.util.MAGIC_NUMBER


def test_only_what_is_asked_for_with_its_parents(package: Path, tmp_path: Path) -> None:
    built = write_layer(Layer(packages=["x"], only=["usr/bin/x"]), [package], {}, tmp_path / "layer.tar")
    entries = contents(built.path)
    assert list(entries) == ["usr", "usr/bin", "usr/bin/x"]
    assert entries["usr"].mode == 0o755


def test_own_files_win_over_the_packages(package: Path, tmp_path: Path) -> None:
    built = write_layer(Layer(packages=["x"], text={"/bin/x": "mine"}), [package], {}, tmp_path / "layer.tar")
    with tarfile.open(built.path) as tar:
        program = tar.extractfile("usr/bin/x")
        assert program is not None
        assert program.read() == b"mine"


def test_own_content(tmp_path: Path) -> None:
    (tmp_path / "argo" / "bin").mkdir(parents=True)
    (tmp_path / "argo" / "bin" / "argoexec").write_text("elf")
    layer = Layer(
        directories={"/tmp": "1777"},
        links={"/bin": "usr/bin"},
        scripts={"/sbin/apk": "#!/bin/sh"},
        programs={"/bin/argoexec": "argo/bin/argoexec"},
        files={"/etc/x": "argo/bin/argoexec"},
    )
    entries = contents(write_layer(layer, [], {"argo": tmp_path / "argo"}, tmp_path / "layer.tar").path)
    assert entries["tmp"].mode == 0o1777
    assert entries["bin"].linkname == "usr/bin"
    assert entries["usr/sbin/apk"].mode == entries["usr/bin/argoexec"].mode == 0o755
    assert entries["etc/x"].mode == 0o644
    assert {(entry.uid, entry.gid) for entry in entries.values()} == {(0, 0)}


@pytest.mark.parametrize(
    ("path", "result"),
    [
        ("./bin/sh", "usr/bin/sh"),
        ("/lib64/ld.so", "usr/lib64/ld.so"),
        ("./usr/bin/x", "usr/bin/x"),
        ("./bin", "bin"),
        ("./", ""),
        ("etc/bin/x", "etc/bin/x"),
    ],
)
def test_paths_of_a_merged_usr(path: str, result: str) -> None:
    assert merged(path) == result


def test_directories_of_an_unmerged_usr_never_replace_the_links() -> None:
    assert not is_kept("bin", [], directory=True)
    assert is_kept("usr/bin", [], directory=True)


def test_the_choice_of_apt_is_read() -> None:
    text = (
        "Reading package lists...\n"
        "Inst libc6 (2.36-9+deb12u14 Debian:12.15/oldstable [amd64]) []\n"
        "Inst zlib1g (1:1.2.13.dfsg-1 Debian:12.15/oldstable, Debian-Security:12 [amd64])\n"
        "Inst old [1.0] (2.0 Debian:12 [all])\n"
        "Conf libc6 (2.36-9+deb12u14 Debian:12.15/oldstable [amd64])\n"
    )
    assert [package.filename for package in parse_chosen(text)] == [
        "libc6_2.36-9+deb12u14_amd64.deb",
        "old_2.0_all.deb",
        "zlib1g_1%3a1.2.13.dfsg-1_amd64.deb",
    ]
