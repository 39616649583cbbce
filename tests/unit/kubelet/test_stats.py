"""/stats/summary and /metrics/resource on the port, in the shapes that their readers parse."""

from __future__ import annotations

import json
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from provider.model.errors import CloudCode, CloudError
from provider.model.ids import PodUid
from provider.model.usage import ContainerUsage, InstanceUsage, InterfaceUsage, Use
from tests.unit.kubelet.conftest import ZONE

MIB = 1 << 20


def used(at: float, cpu: int, *, uid: str = "uid-1") -> InstanceUsage:
    container = ContainerUsage("c", 1_700_000_000.25, Use(at, cpu // 2, 9 * MIB, 5 * MIB, 4 * MIB, 30, 2), 0)
    return InstanceUsage(
        PodUid(uid),
        ZONE,
        Use(at, cpu, 10 * MIB, 6 * MIB, 5 * MIB, 40, 3),
        64 * MIB,
        (container,),
        (InterfaceUsage("eth0", 1, 2, 3, 4), InterfaceUsage("eth1", 5, 6, 7, 8)),
        4,
    )


async def test_the_summary(listening: Any, cloud: Any) -> None:
    cloud.usage = [used(1_700_000_100.0, 3_000_000_000), used(0, 0, uid="not-of-this-node")]
    async with listening() as port:
        status, text = await port.get("/stats/summary")
        assert status == 200
        summary = json.loads(text)
        assert (summary["node"]["nodeName"], summary["node"]["memory"]["availableBytes"]) == ("node-a", 1 << 30)
        assert summary["node"]["cpu"]["usageCoreNanoSeconds"] == 3_000_000_000
        (pod,) = summary["pods"]
        assert pod["podRef"] == {"name": "p", "namespace": "ns", "uid": "uid-1"}
        assert pod["startTime"] == "2026-01-01T00:00:00Z"
        assert pod["cpu"] == {"time": "2023-11-14T22:15:00Z", "usageCoreNanoSeconds": 3_000_000_000}
        assert pod["memory"] == {
            "time": "2023-11-14T22:15:00Z",
            "availableBytes": 58 * MIB,
            "usageBytes": 10 * MIB,
            "workingSetBytes": 6 * MIB,
            "rssBytes": 5 * MIB,
            "pageFaults": 40,
            "majorPageFaults": 3,
        }
        first = {"name": "eth0", "rxBytes": 1, "rxErrors": 2, "txBytes": 3, "txErrors": 4}
        second = {"name": "eth1", "rxBytes": 5, "rxErrors": 6, "txBytes": 7, "txErrors": 8}
        assert pod["network"] == {"time": "2023-11-14T22:15:00Z", **first, "interfaces": [first, second]}
        assert pod["process_stats"] == {"process_count": 4}
        (container,) = pod["containers"]
        assert (container["name"], container["startTime"]) == ("c", "2023-11-14T22:13:20Z")
        assert "availableBytes" not in container["memory"]

        cloud.usage = [used(1_700_000_110.0, 8_000_000_000)]
        status, text = await port.get("/stats/summary?only_cpu_and_memory=true", method="POST")
        (pod,) = json.loads(text)["pods"]
        assert pod["cpu"]["usageNanoCores"] == 500_000_000
        assert pod["containers"][0]["cpu"]["usageNanoCores"] == 250_000_000
        assert not {"network", "process_stats"} & pod.keys()


async def test_resource_metrics(listening: Any, cloud: Any) -> None:
    cloud.usage = [used(1_700_000_100.5, 3_500_000_000)]
    async with listening() as port:
        status, text = await port.get("/metrics/resource")
        assert status == 200
        found = {
            (sample.name, *sorted(sample.labels.values())): (sample.value, sample.timestamp)
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }
        at = 1_700_000_100.5
        assert found["container_cpu_usage_seconds_total", "c", "ns", "p"] == (1.75, at)
        assert found["container_memory_working_set_bytes", "c", "ns", "p"] == (5 * MIB, at)
        assert found["container_start_time_seconds", "c", "ns", "p"] == (1_700_000_000.25, None)
        assert found["pod_cpu_usage_seconds_total", "ns", "p"] == (3.5, at)
        assert found["pod_memory_working_set_bytes", "ns", "p"] == (6 * MIB, at)
        assert found["node_cpu_usage_seconds_total",][0] == 3.5
        assert found["node_memory_working_set_bytes",][0] == 6 * MIB
        assert found["resource_scrape_error",] == (0, None)
        assert text.startswith(
            "# HELP container_cpu_usage_seconds_total [STABLE] Cumulative cpu time consumed by the container in "
            "core-seconds\n# TYPE container_cpu_usage_seconds_total counter\n"
        )
        cloud.usage = []  # the pod has gone; what it has used stays in the node's counter
        assert "node_cpu_usage_seconds_total 3.5 " in (await port.get("/metrics/resource"))[1]


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_metrics_are_only_read(listening: Any, method: str) -> None:
    async with listening() as port:
        assert (await port.get("/metrics/resource", method=method))[0] == 405


async def test_a_cloud_that_is_away(listening: Any, cloud: Any) -> None:
    cloud.refusal = CloudError(CloudCode.UNAVAILABLE, "the engine is away")
    async with listening() as port:
        assert await port.get("/stats/summary") == (500, "Internal Error: the engine is away")
        status, text = await port.get("/metrics/resource")
        assert (status, [line for line in text.splitlines() if line[0] != "#"]) == (200, ["resource_scrape_error 1"])
