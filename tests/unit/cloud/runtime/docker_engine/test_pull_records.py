"""Images that were pulled with a login are for those who have it."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest

from provider.cloud.runtime.base import RuntimeFault
from provider.cloud.runtime.docker_engine.pull_records import PullRecords
from provider.model.request import RegistryCredential

if TYPE_CHECKING:
    from pathlib import Path

MINE = RegistryCredential("quay.io", "me", "secret")
OTHER = RegistryCredential("quay.io", "you", "secret")


def test_what_nobody_pulled_is_free(tmp_path: Path) -> None:
    assert PullRecords(tmp_path / "pulls.json").may_use("sha256:1", "quay.io/a", ())


def test_what_was_pulled_with_a_login_is_for_those_who_have_it(tmp_path: Path) -> None:
    path = tmp_path / "pulls.json"
    PullRecords(path).pulled("sha256:1", "quay.io/a", MINE)
    records = PullRecords(path)
    assert records.may_use("sha256:1", "quay.io/a", (OTHER, MINE))
    assert not records.may_use("sha256:1", "quay.io/a", (OTHER,))
    assert not records.may_use("sha256:1", "quay.io/a", ())
    assert records.may_use("sha256:1", "docker.io/library/a", ())
    assert records.may_use("sha256:2", "quay.io/a", ())
    records.pulled("sha256:1", "quay.io/a", OTHER)
    assert records.may_use("sha256:1", "quay.io/a", (OTHER,))


def test_a_pull_without_a_login_frees_it_for_good(tmp_path: Path) -> None:
    records = PullRecords(tmp_path / "pulls.json")
    records.pulled("sha256:1", "quay.io/a", MINE)
    records.pulled("sha256:1", "quay.io/a", None)
    records.pulled("sha256:1", "quay.io/a", MINE)
    assert records.may_use("sha256:1", "quay.io/a", ())


def test_the_file_tells_no_password_and_is_nobody_elses(tmp_path: Path) -> None:
    path = tmp_path / "pulls.json"
    PullRecords(path).pulled("sha256:1", "quay.io/a", MINE)
    assert b"secret" not in path.read_bytes()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [one.name for one in tmp_path.iterdir()] == ["pulls.json"]


def test_a_spoiled_file_is_said(tmp_path: Path) -> None:
    path = tmp_path / "pulls.json"
    path.write_text("[1]")
    with pytest.raises(RuntimeFault, match=r"pulls\.json is spoiled"):
        PullRecords(path)
