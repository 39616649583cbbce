from __future__ import annotations

from typing import Any

from tests.compatibility.cases import CASES
from tests.compatibility.compare import ABSENT, Difference, differences
from tests.compatibility.known import KNOWN
from tests.compatibility.report import document
from tests.compatibility.run import Result

ID = "0" * 63 + "1"
OTHER = "0c1b9c12-8f7d-4e56-a1a4-5a3c9c1f7d3e"
UID = "6b8c5ba3-2a7a-4d2e-9c70-1d6d0e0f2a11"


def pod(namespace: str, node: str, **status: Any) -> dict[str, Any]:
    return {"metadata": {"namespace": namespace}, "spec": {"nodeName": node}, "status": status}


def test_addresses_times_ids_and_places_are_not_compared() -> None:
    stock = pod(
        "on-stock", "stock",
        podIP="10.0.0.9", podIPs=[{"ip": "10.0.0.9"}], startTime="2026-11-24T10:00:00Z",
        message=f"back-off restarting failed container=main pod=x_on-stock({UID}) at 10.0.0.9",
        containerStatuses=[{"name": "main", "containerID": f"containerd://{ID}", "image": "docker.io/library/busybox:1"}],
    )  # fmt: skip
    virtual = pod(
        "on-virtual", "virtual-kubelet-a",
        podIP="10.1.0.7", podIPs=[{"ip": "10.1.0.7"}], startTime="2026-11-24T10:00:05Z",
        message=f"back-off restarting failed container=main pod=x_on-virtual({OTHER}) at 10.1.0.7",
        containerStatuses=[{"name": "main", "containerID": f"docker://{ID[::-1]}", "image": "busybox:1"}],
    )  # fmt: skip
    assert differences(stock, virtual) == []


def test_whether_they_are_there_is_compared() -> None:
    assert differences(pod("a", "n", podIP="10.0.0.9"), pod("b", "m")) == [Difference("podIP", "<address>", ABSENT)]
    epoch = {"startedAt": "1970-01-01T00:00:00Z"}
    found = differences(pod("a", "n", **epoch), pod("b", "m", startedAt="2026-11-24T10:00:00Z"))
    assert found == [Difference("startedAt", "1970-01-01T00:00:00Z", "<time>")]


def test_lists_are_compared_by_what_names_their_elements() -> None:
    one = [{"type": "Ready", "status": "True"}, {"type": "Initialized", "status": "True"}]
    assert differences(pod("a", "n", conditions=one), pod("b", "m", conditions=one[::-1])) == []
    other = [one[0] | {"status": "False"}, one[1]]
    assert differences(pod("a", "n", conditions=one), pod("b", "m", conditions=other)) == [
        Difference("conditions[Ready].status", "True", "False")
    ]


def test_cases_have_names_of_their_own_and_known_differences_have_reasons() -> None:
    assert len({case.name for case in CASES}) == len(CASES) >= 40
    assert [each for each in KNOWN if not each.reason] == []


def test_the_document_says_what_is_not_explained() -> None:
    result = Result(CASES[0], pod("a", "n", phase="Succeeded"), pod("b", "m", phase="Failed"), ("m",))
    text = document([result], "2026-11-24, commit abc", "v1.37.2", "containerd 1.6")
    assert "0 of 1 pods agree" in text
    assert "- **not explained: a defect**\n  - `phase`: stock `Succeeded`, virtual `Failed`\n" in text
    assert "the m node did not come to this moment in time" in text
