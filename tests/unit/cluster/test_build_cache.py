"""What is in the cache is whole, and made once."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from provider.cluster.build_cache import cache_root, cached, content_key

if TYPE_CHECKING:
    from pathlib import Path


def ignore(_message: str) -> None:
    """Report to nobody."""


def fill(directory: Path) -> None:
    (directory / "program").write_text("x")


def test_cache_root_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ZONELET_CACHE_DIR", str(tmp_path))
    assert cache_root() == tmp_path
    monkeypatch.delenv("ZONELET_CACHE_DIR")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert str(cache_root()) == "/home/somebody/.cache/zonelet"


def test_key_depends_on_parts_names_and_contents(tmp_path: Path) -> None:
    (tmp_path / "go.mod").write_text("module x")
    first = content_key("flags", tree=tmp_path)
    assert content_key("flags", tree=tmp_path) == first
    assert content_key("other", tree=tmp_path) != first
    assert content_key("fla", "gs", tree=tmp_path) != first
    (tmp_path / "go.mod").write_text("module y")
    assert content_key("flags", tree=tmp_path) != first
    (tmp_path / "go.mod").rename(tmp_path / "go.sum")
    assert content_key("flags", tree=tmp_path) != first


def test_a_second_call_makes_nothing(tmp_path: Path) -> None:
    made = cached(tmp_path, "upstream", "etcd", "k1", fill, ignore)
    assert made == tmp_path / "upstream" / "etcd-k1"
    assert (made / "program").read_text() == "x"

    def never(_directory: Path) -> None:
        raise AssertionError("made twice")

    assert cached(tmp_path, "upstream", "etcd", "k1", never, ignore) == made


def test_a_failure_leaves_nothing_behind(tmp_path: Path) -> None:
    def half(directory: Path) -> None:
        fill(directory)
        raise RuntimeError("out of disk")

    with pytest.raises(RuntimeError, match="out of disk"):
        cached(tmp_path, "upstream", "etcd", "k1", half, ignore)
    assert list((tmp_path / "upstream").iterdir()) == []


def test_what_a_killed_run_left_is_cleared_away(tmp_path: Path) -> None:
    left_over = tmp_path / "upstream" / ".etcd-k0.part"
    left_over.mkdir(parents=True)
    fill(left_over)
    cached(tmp_path, "upstream", "etcd", "k1", fill, ignore)
    assert [path.name for path in (tmp_path / "upstream").iterdir()] == ["etcd-k1"]


def test_two_at_once_make_it_once_and_the_second_says_that_it_waits(tmp_path: Path) -> None:
    started, go_on = threading.Event(), threading.Event()
    makers: list[str] = []
    said: list[str] = []

    def slow(directory: Path) -> None:
        makers.append("first")
        fill(directory)
        started.set()
        assert go_on.wait(20)

    def waiting(message: str) -> None:
        said.append(message)
        go_on.set()

    first = threading.Thread(target=cached, args=(tmp_path, "upstream", "etcd", "k1", slow, ignore))
    first.start()
    assert started.wait(20)
    made = cached(tmp_path, "upstream", "etcd", "k1", lambda _: makers.append("second"), waiting)
    first.join(20)
    assert makers == ["first"]
    assert (made / "program").exists()
    assert said == ["etcd: another process makes it right now, waiting for that one"]
