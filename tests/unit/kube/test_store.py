"""What a list changes in the store."""

from __future__ import annotations

from typing import Any

from provider.kube.store import Change, Store


def pod(uid: str, version: str = "1") -> dict[str, Any]:
    return {"metadata": {"uid": uid, "name": "same", "resourceVersion": version}}


def test_replace_returns_the_difference() -> None:
    store = Store()
    assert store.replace([pod("a"), pod("b")]) == [Change("added", pod("a")), Change("added", pod("b"))]
    assert store.replace([pod("b", "2"), pod("c")]) == [
        Change("deleted", pod("a"), pod("a")),
        Change("modified", pod("b", "2"), pod("b")),
        Change("added", pod("c")),
    ]
    assert store.objects() == [pod("b", "2"), pod("c")]


def test_the_same_version_is_no_change_and_an_unknown_deletion_neither() -> None:
    store = Store()
    store.put(pod("a"))
    assert store.put(pod("a")) is None
    assert store.remove(pod("z")) is None
    assert store.remove(pod("a", "9")) == Change("deleted", pod("a", "9"), pod("a"))
    assert len(store) == 0
