from __future__ import annotations

import pytest

from provider.config.profiles import load_profile
from provider.model.pod import Metadata
from provider.model.profile import PLAIN
from provider.translate.wishes import Told, wishes

ECI = "k8s.aliyun.com/eci-"


def told(annotations: dict[str, str], labels: dict[str, str] | None = None, profile: str = "eci") -> tuple[Told, ...]:
    meta = Metadata(name="p", annotations=annotations, labels=labels)
    return wishes(meta, load_profile(profile)).told


def test_what_is_allowed_is_a_wish_by_its_meaning() -> None:
    meta = Metadata(
        name="p",
        annotations={f"{ECI}use-specs": "2-4Gi", f"{ECI}spot-strategy": "SpotAsPriceGo", "example.com/mine": "x"},
        labels={"alibabacloud.com/eci": "true", "app": "web"},
    )
    found = wishes(meta, load_profile("eci"))
    assert found.values == {"useSpecs": "2-4Gi", "spotStrategy": "SpotAsPriceGo", "route": "true"}
    assert found.told == ()


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("spot-strategy", "Cheap", "allowed: NoSpot, SpotAsPriceGo, SpotWithPriceLimit"),
        ("spot-price-limit", "0.12345", "allowed: a price in CNY per hour, at most 3 decimals"),
        ("max-pending-minute", "9", "allowed: a whole number of minutes from 10 to 1440"),
        ("max-pending-minute", "1441", "allowed: a whole number of minutes from 10 to 1440"),
        ("spot-duration", "2", "allowed: 0, 1"),
    ],
)
def test_a_value_that_is_not_allowed_names_key_and_allowed_values(key: str, value: str, allowed: str) -> None:
    (found,) = told({ECI + key: value})
    assert found.reason == "InvalidAnnotation"
    assert found.message == f"{ECI}{key}: {value!r} is not allowed; {allowed}"


@pytest.mark.parametrize("minutes", ["10", "99", "240", "1399", "1440"])
def test_a_value_that_is_allowed_and_not_acted_on_is_told(minutes: str) -> None:
    (found,) = told({f"{ECI}max-pending-minute": minutes})
    assert found.reason == "AnnotationNotActedOn"


def test_a_key_that_the_profile_does_not_know() -> None:
    (found,) = told({f"{ECI}use-spec": "2-4Gi"})
    assert found.reason == "UnknownAnnotation"
    assert found.message.startswith(f"{ECI}use-spec: profile eci does not know it; it knows: ")
    assert f"{ECI}use-specs" in found.message
    assert f"{ECI}instance-id" not in found.message


def test_a_label_as_annotation_is_told() -> None:
    (found,) = told({"alibabacloud.com/compute-class": "performance"}, profile="acs")
    assert found.message.endswith("profile acs reads it as a label")


def test_what_the_cloud_wrote_on_a_copied_pod_is_nobodys_wish() -> None:
    assert told({f"{ECI}instance-spec": "2.0-4.0Gi"}) == ()


def test_plain_knows_nothing_and_complains_of_nothing() -> None:
    meta = Metadata(name="p", annotations={f"{ECI}use-specs": "2-4Gi", "alibabacloud.com/x": "y"})
    assert wishes(meta, PLAIN) == wishes(Metadata(name="p"), PLAIN)
