from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from provider.clock import SystemClock
from provider.cluster import stock_node
from provider.cluster.installation import Installation
from provider.cluster.steps import SetupError
from provider.cluster.stock_node import StockNode
from provider.cluster.stock_up import require_own_name
from provider.config.load import parse

if TYPE_CHECKING:
    from pathlib import Path

ZONES = "{apiVersion: zonelet.dev/v1alpha1, kind: ProviderConfig, zones: [{name: a, nodeName: %s}]}"


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StockNode:
    """A node on a machine where nothing is changed."""
    monkeypatch.setattr(stock_node, "add_rules", lambda _: None)
    monkeypatch.setattr(stock_node, "has_chain", lambda _: True)
    monkeypatch.setattr(stock_node, "used_blocks", nothing_used)

    class NoHierarchies:
        def all(self) -> list[Path]:
            return [tmp_path]

    monkeypatch.setattr(stock_node, "host_hierarchies", NoHierarchies)
    return StockNode(Installation("zonelet", tmp_path / "state", SystemClock()))


async def nothing_used(*_: Any) -> tuple[()]:
    return ()


async def test_what_was_chosen_is_kept(node: StockNode) -> None:
    assert not node.exists()
    client: Any = None
    first = await node.prepare(client, "127.0.0.1", ["10.0.0.0/22"], "127.0.0.1:6443")
    assert first.pod_cidr == "10.0.4.0/22"  # clear of the zones
    assert first.sysctls
    assert node.exists()
    second = await node.prepare(client, "127.0.0.1", [], "127.0.0.1:7443")
    assert (second.pod_cidr, second.port, second.sysctls) == (first.pod_cidr, first.port, first.sysctls)
    assert node.record() == second
    assert any("127.0.0.1:7443" in rule for rule in second.rules)


async def test_an_engine_on_another_machine_is_told(node: StockNode) -> None:
    client: Any = None
    with pytest.raises(SetupError, match=r"cannot have the address 192\.0\.2\.77"):
        await node.prepare(client, "192.0.2.77", [], "192.0.2.77:6443")
    assert node.record() is None


def test_no_zones_node_has_the_stock_nodes_name() -> None:
    require_own_name(parse(ZONES % "other"))
    with pytest.raises(SetupError, match="the node of the zone a is called stock"):
        require_own_name(parse(ZONES % "stock"))
