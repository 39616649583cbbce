from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from provider.cluster.build_command import BuildError
from provider.cluster.stock_network import add_rules, has_chain, network_rules, remove_port_chains, remove_rules

if TYPE_CHECKING:
    from pathlib import Path

RULES = network_rules("10.0.16.0/22", "zls-1", "10.96.0.1", "10.0.0.1:6443", "DOCKER-USER")

IPTABLES = """#!/bin/sh
# iptables as far as it is used: a file of rules, one a line
shift 4; act=$1; shift            # -w 10 -t TABLE
case $act in
-n) [ "$2" = DOCKER-USER ] ;;
-S) sed 's/^/-A /; s/^-A -N/-N/' "$RULES" ;;
-F | -X) grep -v -e "^$1 " -e "^-N $1$" "$RULES" > "$RULES.new"; mv "$RULES.new" "$RULES" ;;
-C) grep -qxF -- "$*" "$RULES" ;;
-I) chain=$1; shift 2; [ "$chain" != refused ] || { echo no such chain >&2; exit 1; }; echo "$chain $*" >> "$RULES" ;;
-D) grep -qxF -- "$*" "$RULES" || exit 1
    grep -vxF -- "$*" "$RULES" > "$RULES.new"; mv "$RULES.new" "$RULES" ;;
esac
"""


@pytest.fixture
def rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The rules of a machine with an iptables that changes nothing but this file."""
    program = tmp_path / "iptables"
    program.write_text(IPTABLES)
    program.chmod(0o755)
    kept = tmp_path / "rules"
    kept.write_text("POSTROUTING -s 172.17.0.0/16 -j MASQUERADE\n")
    monkeypatch.setenv("RULES", str(kept))
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return kept


def test_rules_lead_pods_to_the_api_server_and_out() -> None:
    texts = [" ".join(rule) for rule in RULES]
    assert (
        "nat PREROUTING -s 10.0.16.0/22 -d 10.96.0.1/32 -p tcp --dport 443 -j DNAT --to-destination 10.0.0.1:6443"
        in texts
    )
    assert "nat POSTROUTING -s 10.0.16.0/22 ! -o zls-1 -j MASQUERADE" in texts
    assert {rule[1] for rule in RULES if rule[0] == "filter"} == {"DOCKER-USER"}


def test_rules_are_added_once_and_removed_without_touching_others(rules: Path) -> None:
    before = rules.read_text()
    add_rules(RULES)
    added = rules.read_text()
    assert len(added.splitlines()) == 1 + len(RULES)
    add_rules(RULES)
    assert rules.read_text() == added
    remove_rules(RULES)
    assert rules.read_text() == before
    remove_rules(RULES)
    assert rules.read_text() == before


def test_a_refused_rule_is_told_in_the_kernels_words(rules: Path) -> None:
    with pytest.raises(BuildError, match=r"filter/refused\n(?s:.*)no such chain"):
        add_rules([["filter", "refused", "-j", "ACCEPT"]])
    assert "refused" not in rules.read_text()


@pytest.mark.usefixtures("rules")
def test_the_engines_chain_is_found_where_there_is_one() -> None:
    assert has_chain("DOCKER-USER")
    assert not has_chain("OTHER")


PORT_CHAINS = """-N CNI-HOSTPORT-DNAT
-N CNI-HOSTPORT-MASQ
PREROUTING -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT
CNI-HOSTPORT-MASQ -m mark --mark 0x2000/0x2000 -j MASQUERADE
"""


def test_the_plugins_chains_are_removed_with_the_last_published_port(rules: Path) -> None:
    before = rules.read_text()
    used = before + PORT_CHAINS + "CNI-HOSTPORT-DNAT -p tcp --dport 80 -j CNI-DN-1\n"
    rules.write_text(used)
    remove_port_chains()
    assert rules.read_text() == used
    rules.write_text(before + PORT_CHAINS)
    remove_port_chains()
    assert rules.read_text() == before
