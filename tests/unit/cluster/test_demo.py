from __future__ import annotations

from provider.cluster.demo import pods_by_zone


def _node(name: str, zone: str) -> dict[str, object]:
    return {"metadata": {"name": name, "labels": {"topology.kubernetes.io/zone": zone}}}


def test_pods_are_counted_by_the_zone_of_their_node() -> None:
    nodes = [_node("n-b", "zone-b"), _node("n-a", "zone-a")]
    pods = [{"spec": {"nodeName": name}} for name in ("n-a", "n-b", "n-a", "gone")] + [{"spec": {}}]
    assert pods_by_zone(pods, nodes) == {"no zone": 2, "zone-a": 2, "zone-b": 1}
