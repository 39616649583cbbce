"""What a pod becomes on each cloud: precedence, rounding, choice of types, markets."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provider.config.profiles import load_profile, parse_profile
from provider.model.errors import Rejection
from provider.model.pod import Pod, pod_from_json
from provider.model.profile import PLAIN, Profile
from provider.model.request import Market
from provider.model.size import GIB, InstanceSize
from provider.translate.instance_size import SizePlan, size_plan

ECI = "k8s.aliyun.com/eci-"
Json = dict[str, Any]


def box(cpu: str = "", memory: str = "", *, limits: Json | None = None, env: str = "", **more: Any) -> Json:
    requests = {key: value for key, value in (("cpu", cpu), ("memory", memory)) if value}
    found: Json = {"name": "c", "resources": {"requests": requests, "limits": limits or {}}, **more}
    if env:
        found["env"] = [{"name": env, "value": "TRUE"}]
    return found


def pod(*boxes: Json, inits: list[Json] | None = None, labels: Json | None = None, **annotations: str) -> Pod:
    keys = {ECI + key.replace("_", "-"): value for key, value in annotations.items()}
    return pod_from_json(
        {
            "metadata": {"name": "p", "annotations": keys, "labels": labels or {}},
            "spec": {"containers": list(boxes) or [box()], "initContainers": inits},
        }
    )


def plan(*boxes: Json, profile: str = "eci", **more: Any) -> SizePlan:
    return size_plan(pod(*boxes, **more), load_profile(profile))


def names(found: SizePlan) -> list[str]:
    return [size.name for size in found.sizes]


def refusal(*boxes: Json, profile: str = "eci", **more: Any) -> str:
    with pytest.raises(Rejection) as caught:
        plan(*boxes, profile=profile, **more)
    assert caught.value.reason == load_profile(profile).reason
    return caught.value.message


# ------------------------------------------------------------------ precedence and rounding


@pytest.mark.parametrize(
    ("boxes", "expected"),
    [
        ([box()], "2.0-4.0Gi"),
        ([box("3", "6Gi")], "4.0-6.0Gi"),
        ([box("7", "13Gi")], "8.0-14.0Gi"),
        ([box("10m")], "0.25-0.5Gi"),
        ([box("1", "2Gi", limits={"cpu": "2", "memory": "4Gi"})], "2.0-4.0Gi"),
        ([box("1", "2Gi", limits={"cpu": "2"})], "2.0-2.0Gi"),
        ([box("1", "1Gi"), box("1", "3Gi")], "2.0-4.0Gi"),
        ([box("1", "2Gi"), box("32", "200Gi", env="__ECI_RESOURCE_IGNORE__")], "1.0-2.0Gi"),
        ([box("1", "2Gi"), box("32", "200Gi", env="OTHER")], "52.0-384.0Gi"),
    ],
)
def test_a_pod_gets_the_smallest_size_that_is_enough(boxes: list[Json], expected: str) -> None:
    assert names(plan(*boxes)) == [expected]


def test_init_containers_count_by_the_rule_of_kubernetes() -> None:
    assert names(plan(box("1", "2Gi"), box("1", "2Gi"), inits=[box("3", "1Gi")])) == ["4.0-4.0Gi"]
    sidecar = box("2", "2Gi", restartPolicy="Always")
    assert names(plan(box("1", "2Gi"), inits=[sidecar, box("2", "2Gi")])) == ["4.0-4.0Gi"]
    ignored = box("8", "8Gi", env="__ECI_RESOURCE_IGNORE__")
    assert names(plan(box("1", "2Gi"), inits=[ignored])) == ["1.0-2.0Gi"]


def test_use_specs_come_before_limits_and_keep_their_order() -> None:
    found = plan(box(limits={"cpu": "8", "memory": "16Gi"}), use_specs="4-8Gi,ecs.c6.xlarge,2-4Gi,3-6Gi")
    assert names(found) == ["4.0-8.0Gi", "ecs.c6.xlarge", "2.0-4.0Gi", "4.0-6.0Gi"]
    assert found.sizes[1] == InstanceSize(4000, 8 * GIB, "ecs.c6", "ecs.c6.xlarge")
    assert found.told == ()


def test_an_entry_that_names_no_size_is_passed_over_and_told() -> None:
    found = plan(use_specs="2-4,ecs.q6.xlarge,2-4Gi")
    assert names(found) == ["2.0-4.0Gi"]
    assert [told.message.partition(";")[0].split(":")[:2] for told in found.told] == [
        [f"{ECI}use-specs", " '2-4' is no size"],
        [f"{ECI}use-specs", " 'ecs.q6.xlarge' is no size"],
    ]
    assert all(told.message.endswith("it is passed over") and "`2-4Gi`" in told.message for told in found.told)


def test_an_entry_that_is_too_large_is_passed_over_and_told() -> None:
    found = plan(use_specs="65-4Gi,2-4Gi")
    assert names(found) == ["2.0-4.0Gi"]
    assert found.told[0].message.startswith("no size of profile eci has 65 vCPU")


@pytest.mark.parametrize(
    ("specs", "told"),
    [
        ("huge", "InvalidParameter: k8s.aliyun.com/eci-use-specs: 'huge' is no size: allowed: `2-4Gi`"),
        ("", "InvalidParameter: k8s.aliyun.com/eci-use-specs: '' has an empty entry; allowed"),
        ("0-4Gi", "InvalidParameter: k8s.aliyun.com/eci-use-specs: '0-4Gi' is no size"),
        ("1-2Gi," * 5 + "1-4Gi", "InvalidParameter: k8s.aliyun.com/eci-use-specs: '1-2Gi,"),
        ("65-4Gi", "InvalidParameter: no size of profile eci has 65 vCPU and 4 GiB; the largest has 64 vCPU"),
    ],
)
def test_a_list_without_any_size_is_refused(specs: str, told: str) -> None:
    assert refusal(use_specs=specs).startswith(told)


def test_what_is_larger_than_everything_is_refused() -> None:
    told = refusal(box("64", "513Gi"))
    assert told == (
        "InvalidParameter: no size of profile eci has 64 vCPU and 513 GiB; the largest has 64 vCPU and 512 GiB"
    )


@given(
    cpu=st.integers(0, 64_000),
    memory=st.integers(0, 512 * 1024),
    other=st.integers(0, 64_000),
    profile=st.sampled_from(["eci", "acs", "fargate", "aci"]),
)
def test_a_size_is_never_smaller_than_asked_and_asking_for_it_gives_it(
    cpu: int, memory: int, other: int, profile: str
) -> None:
    used = load_profile(profile)
    assert used.grid is not None
    asked = box(f"{cpu}m", f"{memory}Mi", limits={"cpu": f"{max(cpu, other)}m"})
    most = max(cpu, other) if used.counts == "limits" else cpu
    if used.grid.smallest(most, memory * (1 << 20) + used.extra_memory) is None:
        refusal(asked, profile=profile)
        return
    found = plan(asked, profile=profile)
    (size,) = found.sizes
    assert size.cpu >= cpu
    assert size.memory >= memory * (1 << 20) + used.extra_memory
    assert used.grid.holds(size.cpu, size.memory)
    again = size_plan(pod(box(f"{size.cpu}m", str(size.memory - used.extra_memory))), used)
    assert again.sizes == (size,)


@given(
    st.lists(
        st.sampled_from(["2-4Gi", "ecs.c6.xlarge", "0.25-0.5Gi", "ecs.g7.2xlarge", "3-6Gi", "8-8Gi"]),
        min_size=1,
        max_size=5,
    )
)
def test_the_order_of_use_specs_is_kept(specs: list[str]) -> None:
    """Each entry alone gives one size; the list gives those, in the list's order, each once."""
    alone = [names(plan(use_specs=one))[0] for one in specs]
    assert names(plan(use_specs=",".join(specs))) == list(dict.fromkeys(alone))


# ------------------------------------------------------------------ types, categories


@pytest.mark.parametrize(
    ("annotations", "expected"),
    [
        ({"instance_family": "ecs.g6,ecs.c6"}, ["ecs.g6.xlarge", "ecs.c6.2xlarge"]),
        ({"instance_family": "ecs.c6", "instance_generation": "6"}, ["ecs.c6.2xlarge"]),
        (
            {"instance_generation": "6,5", "instance_family": "-ecs.r6,-ecs.r5,-ecs.g5"},
            ["ecs.c6.2xlarge", "ecs.g6.xlarge", "ecs.c5.2xlarge"],
        ),
        ({"instance_generation": "-8,-7,-6", "instance_family": "-ecs.c5"}, ["ecs.g5.xlarge", "ecs.r5.xlarge"]),
        ({"compute_category": "economy"}, ["4.0-10.0Gi"]),
        ({"compute_category": "economy,general"}, ["4.0-10.0Gi", "4.0-10.0Gi"]),
    ],
)
def test_families_generations_and_categories(annotations: dict[str, str], expected: list[str]) -> None:
    assert names(plan(box("3", "10Gi"), **annotations)) == expected


def test_categories_are_families_of_their_own_and_have_their_own_end() -> None:
    found = plan(box("3", "10Gi"), compute_category="economy,general")
    assert [size.family for size in found.sizes] == ["economy", ""]
    assert [size.family for size in plan(box("16", "32Gi"), compute_category="economy,general").sizes] == [""]
    assert refusal(box("16", "32Gi"), compute_category="economy").endswith(
        "none of the categories that are asked for has 16 vCPU"
    )
    assert plan(compute_category="cheap").told[0].message == (
        f"{ECI}compute-category: cheap is not known; allowed: economy, general"
    )


@pytest.mark.parametrize(
    ("annotations", "told"),
    [
        (
            {"instance_family": "ecs.q9"},
            "InvalidParameter: k8s.aliyun.com/eci-instance-family: 'ecs.q9' is not known; allowed: ecs.c8,",
        ),
        (
            {"instance_generation": "6,"},
            "InvalidParameter: k8s.aliyun.com/eci-instance-generation: '6,' has an empty entry",
        ),
        ({"use_specs": "ecs.c6.large", "instance_family": "-ecs.c6"}, "InvalidParameter: ecs.c6.large is excluded"),
        ({"use_specs": "ecs.c6.large", "instance_generation": "7"}, "InvalidParameter: ecs.c6.large is excluded"),
        ({"instance_family": "ecs.c6", "use_specs": "64-256Gi"}, "InvalidParameter: none of the instance types"),
    ],
)
def test_a_choice_that_leaves_nothing_is_refused(annotations: dict[str, str], told: str) -> None:
    assert refusal(**annotations).startswith(told)


# ------------------------------------------------------------------ spot, disk


def test_spot_needs_two_vcpu_of_the_grid_of_every_region() -> None:
    found = plan(box("250m", "512Mi"), spot_strategy="SpotAsPriceGo")
    assert (names(found), found.market) == (["2.0-1.0Gi"], Market.SPOT)
    assert names(plan(box("3", "6Gi"), spot_strategy="SpotWithPriceLimit", spot_price_limit="0.5")) == ["4.0-8.0Gi"]
    assert names(plan(box("1", "3Gi"), spot_strategy="SpotAsPriceGo", instance_family="ecs.c6")) == ["ecs.c6.large"]
    assert plan(spot_strategy="NoSpot").market is Market.PAY_AS_YOU_GO


def test_a_size_that_is_never_spot_has_its_published_code() -> None:
    small = parse_profile("""
name: small
extends: eci
sizes: [{cpu: "4", memory: "8"}, {cpu: "64", memory: "512", fine: true}]
""")
    with pytest.raises(Rejection, match="InvalidSpotCpuMemorySpec"):
        size_plan(pod(box("64"), spot_strategy="SpotAsPriceGo"), small)


@pytest.mark.parametrize(
    ("extra", "request_gib", "billed", "stock"),
    [("20Gi", 0, 20, 20), (None, 50, 20, 50), ("5Gi", 10, 5, 10), ("5Gi", 40, 10, 40)],
)
def test_disk_above_the_free_one_is_billed(extra: str | None, request_gib: int, billed: int, stock: int) -> None:
    asked = box()
    asked["resources"]["requests"]["ephemeral-storage"] = f"{request_gib}Gi"
    found = plan(asked, **({} if extra is None else {"extra_ephemeral_storage": extra}))
    assert (found.extra_disk, found.disk) == (billed * GIB, stock * GIB)
    assert names(found) == ["2.0-4.0Gi"]


@pytest.mark.parametrize("text", ["much", "-1Gi"])
def test_a_disk_that_is_no_size_is_told(text: str) -> None:
    found = plan(extra_ephemeral_storage=text)
    assert found.extra_disk == 0
    assert found.told[0].message.startswith(f"{ECI}extra-ephemeral-storage: ")
    assert found.told[0].message.endswith("allowed: for example 20Gi")


# ------------------------------------------------------------------ the other clouds


def acs(*boxes: Json, required: str = "", **labels: str) -> SizePlan:
    made = pod(*boxes, labels={f"alibabacloud.com/{key.replace('_', '-')}": value for key, value in labels.items()})
    annotations = {"alibabacloud.com/pod-required-spec": required} if required else {}
    return size_plan(
        Pod(
            metadata=type(made.metadata)(name="p", labels=made.metadata.labels, annotations=annotations), spec=made.spec
        ),
        load_profile("acs"),
    )


def test_acs_rounds_by_half_a_vcpu_and_has_classes() -> None:
    assert names(acs(box("1.2", "1Gi"))) == ["1.5-2.0Gi"]
    assert acs(box("1"), compute_class="performance").sizes[0].family == "performance"
    assert acs(box("1"), compute_class="general-purpose").sizes[0].family == ""
    assert acs(box("250m"), compute_qos="best-effort").market is Market.BEST_EFFORT
    assert acs(box("250m"), compute_qos="default").market is Market.PAY_AS_YOU_GO


def test_acs_takes_a_size_that_is_demanded_and_no_other() -> None:
    assert names(acs(box("1"), required="2-4Gi")) == ["2.0-4.0Gi"]
    for wrong, told in (
        ("2.25-4Gi", "2.25-4.0Gi is no size"),
        ("2-4Gi,4-8Gi", "allowed: one size"),
        ("big", "'big' is no size: allowed"),
    ):
        with pytest.raises(Rejection) as caught:
            acs(box("1"), required=wrong)
        assert told in caught.value.message


def test_fargate_adds_a_quarter_gib_and_takes_the_smallest_for_nothing() -> None:
    assert names(plan(profile="fargate")) == ["0.25-0.5Gi"]
    assert names(plan(box("1", "8Gi"), profile="fargate")) == ["2.0-9.0Gi"]
    assert names(plan(box("1", "2Gi", limits={"cpu": "4", "memory": "8Gi"}), profile="fargate")) == ["1.0-3.0Gi"]
    assert refusal(box("17"), profile="fargate").startswith("no size of profile fargate has 17 vCPU")


def test_aci_has_a_default_and_whole_vcpu() -> None:
    assert names(plan(profile="aci")) == ["1.0-1.5Gi"]
    assert names(plan(box("1500m", "1Gi"), profile="aci")) == ["2.0-1.0Gi"]


def test_spot_where_nothing_of_it_is_sold_is_told() -> None:
    profile = parse_profile("{name: mine, extends: eci, spot: null}")
    found = size_plan(pod(spot_strategy="SpotAsPriceGo"), profile)
    assert found.market is Market.PAY_AS_YOU_GO
    assert found.told[0].message.endswith("profile mine sells nothing but pay-as-you-go")


@pytest.mark.parametrize("profile", [PLAIN])
def test_plain_is_what_the_scheduler_counts(profile: Profile) -> None:
    asked = box("300m", "1Gi", limits={"cpu": "2", "ephemeral-storage": "1Gi"})
    found = size_plan(pod(asked, use_specs="64-128Gi", spot_strategy="SpotAsPriceGo"), profile)
    assert found == SizePlan(sizes=(InstanceSize(300, GIB),), disk=GIB, asked=(300, GIB))
