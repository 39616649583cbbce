from __future__ import annotations

import fcntl
from typing import TYPE_CHECKING

from provider.cloud.runtime.docker_engine.block_claims import BlockClaims

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def others(claims: BlockClaims) -> list[str]:
    with claims.choosing() as found:
        return [f"{one.network} {one.owner}" for one in found]


def test_a_claim_holds_while_its_installation_is_there(tmp_path: Path) -> None:
    states = [tmp_path / name for name in ("one", "other")]
    one, other = (BlockClaims(state, tmp_path / "claims") for state in states)
    for state in states:
        state.mkdir()
    with one.choosing() as found:
        assert found == ()
        one.keep(["10.0.0.0/22", "10.0.4.0/22"])
    assert others(one) == []  # its own are no reason to choose others
    assert others(other) == [f"{block} the installation in {states[0]}" for block in ("10.0.0.0/22", "10.0.4.0/22")]
    with one.choosing():
        one.keep(["10.0.8.0/22"])
    assert others(other) == [f"10.0.8.0/22 the installation in {states[0]}"]
    one.give_up()
    one.give_up()
    assert others(other) == []
    with one.choosing():
        one.keep(["10.0.8.0/22"])
    states[0].rmdir()
    assert others(other) == []
    assert list((tmp_path / "claims").glob("*.json")) == []


def test_a_half_written_claim_is_none(tmp_path: Path) -> None:
    claims = BlockClaims(tmp_path / "one", tmp_path)
    (tmp_path / "0123.json").write_text('{"state": "/')
    assert others(claims) == []


def test_one_chooses_at_a_time(tmp_path: Path) -> None:
    with BlockClaims(tmp_path / "one", tmp_path).choosing(), (tmp_path / "lock").open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            held = True
        else:
            held = False
        assert held


def test_where_no_claim_can_be_kept_that_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    claims = BlockClaims(tmp_path / "one", tmp_path / "file" / "claims")
    with claims.choosing() as found:
        claims.keep(["10.0.0.0/22"])
    assert found == ()
    assert "block_claims.cannot_be_kept" in capsys.readouterr().out
