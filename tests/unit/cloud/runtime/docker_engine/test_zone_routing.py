"""What a router is told: addresses, routes, source addresses, redirects."""

import subprocess

import pytest

from provider.cloud.runtime.docker_engine.zone_routing import Attachment, RouterPlan, redirect_script, router_script
from provider.model.capacity import Redirect

PLAN = RouterPlan(
    cluster=Attachment("10.0.0.2", "10.0.0.2", "10.0.0.0/22"),
    switches=(
        Attachment("10.0.7.254", "10.0.7.253", "10.0.4.0/22"),
        Attachment("10.0.8.6", "10.0.8.5", "10.0.8.0/29"),
    ),
    out="172.17.0.2",
    out_gateway="172.17.0.1",
    others=(("10.0.12.0/22", "10.0.0.3"),),
)


def lines(script: str) -> list[str]:
    return [line.strip() for line in script.splitlines()]


@pytest.mark.parametrize("script", [router_script(PLAN), redirect_script([Redirect("10.96.0.1", 443, ())])])
def test_a_script_is_a_shells_and_stops_at_the_first_mistake(script: str) -> None:
    assert "set -eu" in lines(script)
    subprocess.run(["sh", "-n"], input=script.encode(), check=True)


def test_interfaces_are_found_by_the_engines_address_and_hold_the_routers() -> None:
    told = lines(router_script(PLAN))
    assert "switch0=$(interface 10.0.7.254)" in told
    assert 'hardware "$switch0" 02:42:0a:00:07:fd' in told
    assert 'ip -4 addr replace 10.0.7.253/22 dev "$switch0"' in told
    assert 'ip -4 addr replace 10.0.8.5/29 dev "$switch1"' in told
    assert 'ip -4 route replace 10.0.4.0/22 dev "$switch0" proto kernel scope link src 10.0.7.253' in told
    assert 'ip -4 addr replace 10.0.0.2/22 dev "$cluster"' in told


def test_the_way_out_leaves_the_engines_default_route_alone() -> None:
    told = lines(router_script(PLAN))
    for half in ("0.0.0.0/1", "128.0.0.0/1"):
        assert f'ip -4 route replace {half} via 172.17.0.1 dev "$out" proto 120' in told
    assert not [line for line in told if "route replace default" in line]


def test_routes_to_other_zones_and_none_that_is_no_more() -> None:
    script = router_script(PLAN)
    assert 'ip -4 route replace 10.0.12.0/22 via 10.0.0.3 dev "$cluster" proto 120' in lines(script)
    assert 'case " 0.0.0.0/1 128.0.0.0/1 10.0.12.0/22 " in *" $block "*) ;;' in script


def test_only_what_leaves_the_zones_or_would_answer_past_the_router_loses_its_address() -> None:
    told = lines(router_script(PLAN))
    at = told.index("type nat hook postrouting priority srcnat")
    assert told[at + 1 : told.index("}", at)] == [
        "ct status dnat ip saddr 10.0.4.0/22 ip daddr 10.0.4.0/22 snat to 10.0.7.253",
        "ct status dnat ip saddr 10.0.8.0/29 ip daddr 10.0.8.0/29 snat to 10.0.8.5",
        'oifname "$cluster" ip saddr @pods ip daddr != @pods snat to 10.0.0.2',
        'oifname "$out" masquerade',
    ]
    assert "set pods { type ipv4_addr; flags interval; elements = { 10.0.4.0/22, 10.0.8.0/29, 10.0.12.0/22 } }" in told


def test_a_zone_without_vswitches_has_no_pods_to_speak_of() -> None:
    script = router_script(RouterPlan(cluster=PLAN.cluster, switches=(), out="172.17.0.2", out_gateway="x", others=()))
    assert "pods" not in script


def test_one_target() -> None:
    told = lines(redirect_script([Redirect("10.96.0.1", 443, (("10.0.0.1", 6443),))]))
    assert "ip daddr 10.96.0.1 tcp dport 443 goto r0t0" in told
    assert told[told.index("chain r0t0 {") + 1] == "meta l4proto tcp dnat to 10.0.0.1:6443"


def test_several_targets_share_and_none_refuses() -> None:
    targets = (("10.0.0.1", 6443), ("10.0.0.9", 6444))
    told = lines(redirect_script([Redirect("10.96.0.1", 443, targets), Redirect("10.96.0.7", 80, ())]))
    assert "ip daddr 10.96.0.1 tcp dport 443 numgen inc mod 2 vmap { 0 : goto r0t0, 1 : goto r0t1 }" in told
    at = told.index("type filter hook forward priority filter")
    assert told[at + 1] == "ip daddr 10.96.0.7 tcp dport 80 reject with tcp reset"


def test_no_redirects_leave_none() -> None:
    told = lines(redirect_script([]))
    assert "delete table ip zonelet-redirects" in told
    assert not [line for line in told if "dport" in line]


@pytest.mark.parametrize(
    "redirect",
    [
        Redirect("10.96.0.1; reboot", 443, ()),
        Redirect("10.96.0.1", 0, ()),
        Redirect("10.96.0.1", 443, (("host", 6443),)),
        Redirect("10.96.0.1", 443, (("10.0.0.1", 1 << 16),)),
    ],
)
def test_what_is_no_address_or_port_is_refused(redirect: Redirect) -> None:
    with pytest.raises(ValueError, match=r"no port|Expected 4 octets|Only decimal"):
        redirect_script([redirect])
