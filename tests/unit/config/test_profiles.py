"""Profiles are data: each file of ours is right, and a user's mistake is told with its path."""

from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provider.config.document import ConfigError
from provider.config.load import parse
from provider.config.profiles import load_profile, parse_profile, profile_names
from provider.config.size_lists import ListError, numbers
from provider.model.profile import PLAIN, SizeGrid
from provider.model.size import GIB, InstanceSize


def mistakes(text: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        parse_profile(text)
    return caught.value.mistakes


def grid(name: str) -> SizeGrid:
    found = load_profile(name).grid
    assert found is not None
    return found


def test_the_profiles_of_this_program() -> None:
    assert profile_names() == ("aci", "acs", "eci", "fargate", "plain")
    assert [load_profile(name).name for name in profile_names()] == list(profile_names())
    assert load_profile("plain") == PLAIN


@pytest.mark.parametrize(
    ("profile", "cpu", "memory", "expected"),
    [
        ("eci", 3000, 6, (4000, 6)),
        ("eci", 7000, 13, (8000, 14)),
        ("eci", 0, 0, (250, 0.5)),
        ("eci", 250, 2, (500, 2)),
        ("eci", 64000, 512, (64000, 512)),
        ("acs", 16000, 128, (16000, 128)),
        ("acs", 1500, 1, (1500, 2)),
        ("acs", 16001, 1, (24000, 24)),
        ("fargate", 1000, 8.25, (2000, 9)),
        ("fargate", 4001, 8, (8000, 16)),
        ("aci", 100, 0.1, (1000, 0.5)),
    ],
)
def test_published_roundings(profile: str, cpu: int, memory: float, expected: tuple[int, float]) -> None:
    assert grid(profile).smallest(cpu, int(memory * GIB)) == (expected[0], int(expected[1] * GIB))


def test_a_small_region_has_no_fine_grid() -> None:
    small = parse_profile("{name: small, extends: eci, fineGrid: false}").grid
    assert small is not None
    assert small.smallest(3000, 6 * GIB) == (4000, 8 * GIB)
    assert small.smallest(7000, 13 * GIB) == (8000, 16 * GIB)
    assert list(small.sizes()) == [size for row in small.rows for size in ((row.cpu, each) for each in row.memory)]


@pytest.mark.parametrize("name", ["eci", "acs", "fargate", "aci"])
@given(cpu=st.integers(0, 70_000), memory=st.integers(0, 530 * GIB))
def test_rounding_gives_the_smallest_that_suffices(name: str, cpu: int, memory: int) -> None:
    sizes = grid(name)
    enough = [one for one in sizes.sizes() if one[0] >= cpu and one[1] >= memory]
    found = sizes.smallest(cpu, memory)
    if not enough:
        assert found is None
        return
    assert found == min(enough)
    assert found is not None
    assert sizes.holds(*found)
    assert sizes.smallest(*found) == found


@pytest.mark.parametrize("name", ["eci", "acs", "fargate", "aci"])
def test_the_smallest_is_the_cheapest_too_and_prices_are_whole(name: str) -> None:
    """So "the smallest" needs no word on which of two sizes is the smaller one, and sizes cost whole micro-units."""
    profile = load_profile(name)
    prices = profile.prices
    assert prices is not None
    exact = {
        (cpu, memory): Fraction(prices.cpu * cpu, 1000) + Fraction(prices.memory * memory, GIB)
        for cpu, memory in grid(name).sizes()
    }
    parts = {size for size, price in exact.items() if price.denominator != 1}
    assert parts == ({(250, GIB // 2)} if name == "fargate" else set())  # 0.5 GB at 4,445: rounded up
    if name == "eci":
        asked = {(cpu - 1, memory - GIB // 4) for cpu, memory in exact}
        for cpu, memory in asked:
            found = grid(name).smallest(cpu, memory)
            assert found is not None
            assert exact[found] == min(exact[one] for one in exact if one[0] >= cpu and one[1] >= memory)


def test_the_price_of_two_vcpu_and_four_gib() -> None:
    eci = load_profile("eci")
    assert eci.price_per_hour(InstanceSize(2000, 4 * GIB)) == 441_072  # 0.4411 CNY, as published
    assert eci.price_per_hour(InstanceSize(2000, 4 * GIB), 20 * GIB) == 441_072 + 20 * 2_124
    assert eci.price_per_hour(InstanceSize(2000, 4 * GIB, "economy")) == 2 * 97_200 + 4 * 22_068
    assert load_profile("plain").price_per_hour(InstanceSize(2000, 4 * GIB)) is None


@pytest.mark.parametrize(
    ("profile", "cpu", "memory"),
    [("plain", 0, 0), ("eci", 2000, 4), ("acs", 2000, 4), ("fargate", 250, 0.5), ("aci", 1000, 1.5)],
)
def test_the_size_of_a_pod_that_asks_for_nothing(profile: str, cpu: int, memory: float) -> None:
    assert load_profile(profile).default_size == InstanceSize(cpu, int(memory * GIB))


def test_a_default_must_be_on_offer() -> None:
    told = mistakes("{name: mine, extends: eci, default: {cpu: 65, memory: 1Gi}}")
    assert told == ("default: no size has 65 vCPU and 1Gi of memory, with extraMemory",)


def test_instance_types_by_name() -> None:
    types = load_profile("eci").types
    assert types is not None
    assert types.find("ecs.c6.xlarge") == InstanceSize(4000, 8 * GIB, "ecs.c6", "ecs.c6.xlarge")
    assert types.find("ecs.r7.13xlarge") == InstanceSize(52000, 416 * GIB, "ecs.r7", "ecs.r7.13xlarge")
    assert types.find("ecs.g6.large") == InstanceSize(2000, 8 * GIB, "ecs.g6", "ecs.g6.large")
    assert types.find("ecs.c6.5xlarge") is None


@pytest.mark.parametrize(
    ("cpu", "memory", "name"), [(2000, 4 * GIB, "2.0-4.0Gi"), (250, GIB // 2, "0.25-0.5Gi"), (0, 0, "0.0-0.0Gi")]
)
def test_a_size_is_written_as_published(cpu: int, memory: int, name: str) -> None:
    assert InstanceSize(cpu, memory).name == name
    assert InstanceSize(cpu, memory, "ecs.c6", "ecs.c6.large").name == "ecs.c6.large"


def test_every_mistake_has_its_path() -> None:
    told = mistakes("""
kind: Profile
name: mine
colour: red
currency: CNY
sizes:
- {cpu: "2", memory: 1 x}
- {cpu: 1..2/3, memory: "4"}
- {cpu: "4"}
- {cpu: "4", memory: "4", memoryPerCpu: 1..8}
- {memory: "4"}
default: {cpu: lots, memory: -1Gi}
extraMemory: much
limits: {containers: 0}
prices: {per: second, cpu: "0.00000000001", memory: dear, disk: "-1", families: [{name: economy, cpu: "1"}]}
instanceTypes: {prefix: ecs, cpus: 2 6, families: {C: 2}}
unsupported: [hostPath, moonlight]
codes: {colour: Red}
reason: not a word
keys:
- {key: example.com/a, means: size}
- {key: example.com/a, pattern: "("}
""")
    assert [line.split(": ")[0] for line in told] == [
        "colour",
        "sizes[4].cpu",
        "prices.families[0].memory",
        "sizes[0].memory",
        "sizes[1].cpu",
        "sizes[2]",
        "sizes[3]",
        "unsupported",
        "codes",
        "reason",
        "keys[1].key",
        "default.cpu",
        "default.memory",
        "extraMemory",
        "limits.containers",
        "prices.cpu",
        "prices.memory",
        "prices.disk",
        "instanceTypes.cpus",
        "instanceTypes.families.C",
        "keys[0].means",
        "keys[1].pattern",
        "keys[1].allowed",
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[]", "$: expected a mapping, got list []"),
        ("kind: Profile", "name: missing"),
        ("{name: mine, extends: mars}", "extends: there is no profile 'mars'; there are aci, acs, eci, fargate, plain"),
        ("{name: mine, spot: {}}", "spot: needs sizes that are not fine"),
        ("{name: mine, prices: {cpu: 1, memory: 1}}", "currency: missing: the prices need one"),
        ("{name: mine, spot: 7}", "spot: expected a mapping, got int 7"),
        ("name: [", "$: not YAML"),
    ],
)
def test_a_mistake_is_told(text: str, told: str) -> None:
    assert mistakes(text)[0].startswith(told)


def test_a_file_of_ones_own_and_the_configuration_that_names_it(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("{name: mine, extends: fargate, currency: EUR, prices: {cpu: 0.05, memory: '0.005'}}")
    mine = load_profile(str(path))
    assert (mine.name, mine.grid, mine.currency) == ("mine", load_profile("fargate").grid, "EUR")
    assert mine.price_per_hour(InstanceSize(1000, 2 * GIB)) == 60_000
    assert parse(f"profile: {path}").profile == str(path)


def test_a_configuration_with_a_profile_that_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("{name: mine, counts: beans}")
    for profile, told in (
        (str(path), "profile: counts: Invalid enum value 'beans'"),
        ("moon", "profile: there is no profile 'moon'; there are aci, acs, eci, fargate, plain, or give a path"),
        (str(tmp_path / "none.yaml"), f"profile: {tmp_path / 'none.yaml'}: cannot be read"),
    ):
        with pytest.raises(ConfigError) as caught:
            parse(f"profile: {profile}")
        assert caught.value.mistakes[0].startswith(told)


@given(st.text(alphabet="0123456789./ x-", max_size=12))
def test_no_list_crashes_the_reader(text: str) -> None:
    try:
        found = numbers(text)
    except ListError:
        return
    assert found
    assert all(number > 0 for number in found)
