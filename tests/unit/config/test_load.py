"""A configuration is read whole, and every mistake in it is told with its path."""

from pathlib import Path

import pytest

from provider.config.load import ConfigError, load, node_name, parse, zones_of, zones_without_vswitch
from provider.config.schema import ProviderConfig
from provider.model.capacity import VSwitch
from provider.model.ids import VSwitchId


def mistakes(text: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    return caught.value.mistakes


def zone(rest: str) -> str:
    return "zones:\n- name: zone-a\n" + "".join(f"  {line}\n" for line in rest.splitlines())


def switches(*cidrs: str) -> str:
    return zone("vSwitches:\n" + "".join(f"- cidr: {cidr}\n" for cidr in cidrs))


def test_nothing_is_all_defaults() -> None:
    assert parse("") == ProviderConfig()
    assert [node_name(one) for one in parse("").zones] == [f"virtual-kubelet-zone-{letter}" for letter in "abc"]


def test_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("apiVersion: zonelet.dev/v1alpha1\nkind: ProviderConfig\nname: mine\n")
    assert load(path).name == "mine"


def test_a_file_that_is_not_there_is_a_config_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"missing\.yaml: cannot be read"):
        load(tmp_path / "missing.yaml")


def test_every_mistake_has_its_line() -> None:
    told = mistakes("""
colour: red
name: Big_Name
zones:
- name: zone-a
  stock: {cpu: "-1", memory: lots, instances: -2}
  vSwitches: [{cidr: 10.0.0.1/24}, {cidr: 10.9.0.0/8}, {cidr: nonsense}, {cidr: 10.1.0.0/22, color: 1}]
- name: zone-a
  nodeName: Bad_Node
  vSwitches: [{cidr: 10.1.1.0/24, id: one}, {cidr: 10.2.0.0/24, id: one}]
node: {kubeletPort: 70000, taint: Sometimes}
runtime: {docker: {memoryShare: 2}}
cluster: {dns: [10.96.0.10, dns.local], apiServer: nowhere}
""")
    assert [line.split(":")[0] for line in told] == [
        "colour",
        "zones[0].vSwitches[3].color",
        "node.taint",
        "name",
        "cluster.dns[1]",
        "cluster.apiServer",
        "zones[0].stock.cpu",
        "zones[0].stock.memory",
        "zones[0].stock.instances",
        "zones[1].name",
        "zones[1].nodeName",
        "zones[0].vSwitches[0].cidr",
        "zones[0].vSwitches[1].cidr",
        "zones[0].vSwitches[2].cidr",
        "zones[1].vSwitches[0].cidr",
        "zones[1].vSwitches[1].id",
        "node.kubeletPort",
        "runtime.docker.memoryShare",
    ]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            switches("10.0.0.1/24"),
            "zones[0].vSwitches[0].cidr: '10.0.0.1/24' has host bits set; the block is 10.0.0.0/24",
        ),
        (switches("10.0.0.0/15"), "the mask must be /16 to /29"),
        (switches("10.0.0.0/30"), "the mask must be /16 to /29"),
        (switches("10.0.0.0"), "names no mask"),
        (switches("fd00::/64"), "is no IPv4 CIDR"),
        (switches("10.0.0.0/22", "10.0.2.0/24"), "[1].cidr: 10.0.2.0/24 overlaps 10.0.0.0/22 of zones[0].vSwitches[0]"),
        (zone("stock: {cpu: 2 cores}"), "zones[0].stock.cpu: '2 cores' is no quantity"),
        (zone("stock: {cpu: [2]}"), "zones[0].stock.cpu: Expected `str`, got `array`"),
        (zone("labels: {'a b': x}"), "zones[0].labels['a b']: no label key"),
        (zone("labels: {a: 'x y'}"), "'x y' is no label value"),
        ("zones: []", "zones: at least one zone is needed"),
        ("zones: {}", "zones: expected a list, got dict {}"),
        ("zones: [{nodeName: x}]", "zones[0].name: missing"),
        (
            "zones: [{name: a, nodeName: x}, {name: b, nodeName: x}]",
            "zones[1].nodeName: 'x' is the node of zones[0] already",
        ),
        ("pods: {hostPath: {allowedPaths: [data]}}", "pods.hostPath.allowedPaths[0]: 'data' is no absolute path"),
        ("pods: {hostPath: {allowedPaths: [/a, /b/../c]}}", "pods.hostPath.allowedPaths[1]: '/b/../c' is no absolute"),
        ("zones: [5]", "zones[0]: expected a mapping, got int 5"),
        ("zones: [{name: ''}]", "zones[0].name: empty"),
        ("zones: [{name: X_}]", "zones[0].name: 'X_' is no DNS label"),
        (zone("vSwitches: [{id: x}]"), "zones[0].vSwitches[0].cidr: missing"),
        ("cluster: {dns: [5]}", "cluster.dns[0]: Expected `str`, got `int`"),
        ("node:", "node: expected a mapping, got nothing"),
        ("node: {kubeletPort: 0}", "node.kubeletPort: 0 is no port"),
        ("node: {leaseSeconds: 0}", "node.leaseSeconds: 0 is not above 0"),
        ("node: {maxPods: 0}", "node.maxPods: 0 is not above 0"),
        ("node: {taintKey: a/b/c}", "node.taintKey: 'a/b/c' is no taint key"),
        ("runtime: {docker: {startsInFlight: 0}}", "runtime.docker.startsInFlight: 0 is below 1"),
        ("runtime: {simulated: {durationSeconds: -1}}", "runtime.simulated.durationSeconds: -1.0 is no time"),
        ("grpcListen: here", "grpcListen: 'here' is neither host:port nor unix:<path>"),
        ("grpcListen: 0.0.0.0:8999", "grpcListen: '0.0.0.0:8999' can be reached from other machines"),
        ("grpcListen: cloud.example:8999", "give grpcTls, or use 127.0.0.1"),
        ("apiVersion: v2", "apiVersion: Invalid enum value"),
        ("- a", "$: expected a mapping"),
        ("a: [", "$: not YAML"),
        ("name: a\nname: b", "the key 'name' stands here twice"),
    ],
)
def test_one_mistake_is_one_line(text: str, line: str) -> None:
    told = mistakes(text)
    assert len(told) == 1
    assert line in told[0]


def test_an_unreadable_entry_does_not_move_the_paths_of_the_next() -> None:
    told = mistakes("zones: [5, {name: X_, vSwitches: [{}, {cidr: 10.0.0.1/24}]}]")
    assert [line.split(":")[0] for line in told] == [
        "zones[0]",
        "zones[1].vSwitches[0].cidr",
        "zones[1].name",
        "zones[1].vSwitches[1].cidr",
    ]


def test_a_vswitch_in_two_zones_is_told() -> None:
    both = "vSwitches: [{id: vsw, cidr: 10.0.0.0/24}]"
    told = mistakes(f"zones: [{{name: a, {both}}}, {{name: b, {both}}}]")
    assert told == (
        "zones[1].vSwitches[0].id: 'vsw' is the id of zones[0].vSwitches[0] already",
        "zones[1].vSwitches[0].cidr: 10.0.0.0/24 overlaps 10.0.0.0/24 of zones[0].vSwitches[0]",
    )


@pytest.mark.parametrize(
    ("cpu", "milli"),
    [("2", 2000), ("500m", 500), ("'0.1'", 100), ("1e1", 10_000), (".5", 500), ("0", 0), ("1n", 1)],
)
def test_cpu_is_in_milli_cores(cpu: str, milli: int) -> None:
    assert zones_of(parse(zone(f"stock: {{cpu: {cpu}}}")), ["10.0.0.0/22"])[0].cpu == milli


@pytest.mark.parametrize(
    ("memory", "size"),
    [("1Gi", 2**30), ("1.5Ki", 1536), ("2k", 2000), ("3E", 3 * 10**18), ("1024", 1024), ("1m", 1)],
)
def test_memory_is_in_bytes(memory: str, size: int) -> None:
    assert zones_of(parse(zone(f"stock: {{memory: {memory}}}")), ["10.0.0.0/22"])[0].memory == size


def test_zones_without_a_vswitch_get_the_free_blocks_in_order() -> None:
    config = parse(
        "zones: [{name: a}, {name: b, vSwitches: [{cidr: 10.5.0.0/24}, {cidr: 10.6.0.0/24, id: x}]}, {name: c}]"
    )
    assert zones_without_vswitch(config) == ("a", "c")
    made = zones_of(config, ["10.0.0.0/22", "10.0.4.0/22"])
    assert [one.vswitches for one in made] == [
        (VSwitch(VSwitchId("vsw-a-0"), "10.0.0.0/22"),),
        (VSwitch(VSwitchId("vsw-b-0"), "10.5.0.0/24"), VSwitch(VSwitchId("x"), "10.6.0.0/24")),
        (VSwitch(VSwitchId("vsw-c-0"), "10.0.4.0/22"),),
    ]


def test_too_few_free_blocks_are_refused() -> None:
    with pytest.raises(ValueError, match="3 zones name no vSwitch, and only 1"):
        zones_of(parse(""), ["10.0.0.0/22"])


@pytest.mark.parametrize(
    "text",
    [
        "grpcListen: 127.0.0.1:8999",
        "grpcListen: '[::1]:8999'",
        "grpcListen: unix:/run/elastic.sock",
        "{grpcListen: '0.0.0.0:8999', grpcTls: {certificateFile: a, keyFile: b, authorityFile: c}}",
    ],
)
def test_an_elastic_api_that_others_cannot_use_is_fine(text: str) -> None:
    assert parse(text).grpc_listen in text
