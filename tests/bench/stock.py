"""zonelet against two peers that run the same jobs: a stock kubelet with containerd on the same API server, and raw
Docker calls that make the same containers. Rounds alternate between the three.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING

from provider.cloud.runtime.docker_engine.client import open_client
from provider.cluster.stock_layout import STOCK_TAINT
from provider.cluster.stock_node import StockNode
from tests.bench import raw_jobs
from tests.bench.jobs import ARGO, JOB, RUNNING, Shape, Side, Taken, burst, remove
from tests.bench.raw_docker import free_addresses
from tests.bench.report import markdown

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from aiodocker import Docker

    from provider.cluster.installation import Installation
    from provider.kube.client import KubeApi
    from tests.bench.raw_jobs import JobTemplate

ALONE = 5
"""Pods of each shape that are run one at a time on idle nodes, each round."""
RAW_IN_FLIGHT = 4
_SHAPES = (JOB, ARGO)


@dataclass
class Found:
    """What was measured of one shape, round by round."""

    own: list[Taken] = field(default_factory=list)
    stock: list[Taken] = field(default_factory=list)
    raw: list[Taken] = field(default_factory=list)


def sides(installation: Installation) -> tuple[Side, Side]:
    """Return zonelet and the stock node. Pods go to the virtual nodes unless they tolerate the stock node's taint."""
    kubelet = [pid for pid in StockNode(installation).status().values() if pid is not None]
    provider = installation.provider.pid()
    if provider is None or not kubelet:
        raise RuntimeError(f"the provider or the stock node does not run: read {installation.state / 'run'}")
    there = {
        "nodeSelector": {STOCK_TAINT: ""},
        "tolerations": [{"key": STOCK_TAINT, "operator": "Exists"}],
    }
    return Side("zonelet", {}, [provider]), Side("stock", there, kubelet)


async def stock_tables(installation: Installation, api: KubeApi, rounds: int, count: int) -> list[str]:
    """Run the three in turn; return the tables: bursts of two shapes, single pods, removal."""
    own, stock = sides(installation)
    for side in (own, stock):  # nothing is measured for the first time
        for shape in _SHAPES:
            await burst(api, side, shape, [f"warm-{side.name}-{index}" for index in range(4)])
    bursts = {shape.name: Found() for shape in (*_SHAPES, RUNNING)}
    alone = {shape.name: Found() for shape in _SHAPES}
    async with open_client("") as client, _templates(client, api, installation, own) as templates:
        for number in range(rounds):
            for shape in (*_SHAPES, RUNNING):
                found = bursts[shape.name]
                for side, taken in ((own, found.own), (stock, found.stock)):
                    names = [f"{side.name}-{number}-{index}" for index in range(count)]
                    taken.append(await burst(api, side, shape, names))
                if shape.ends:
                    addresses = free_addresses(installation, templates[shape.name].address, count)
                    found.raw.append(await raw_jobs.burst(client, templates[shape.name], addresses, RAW_IN_FLIGHT))
            for shape in _SHAPES:
                for index in range(ALONE):
                    for side, taken in ((own, alone[shape.name].own), (stock, alone[shape.name].stock)):
                        taken.append(await burst(api, side, shape, [f"{side.name}-{number}-alone-{index}"]))
            print(f"round {number + 1} with the stock kubelet: {_rates(bursts, number)}", flush=True)
    return [*(_burst_table(shape, count, bursts[shape.name]) for shape in _SHAPES), _rest(bursts, alone, count)]


@asynccontextmanager
async def _templates(
    client: Docker, api: KubeApi, installation: Installation, own: Side
) -> AsyncIterator[Mapping[str, JobTemplate]]:
    """Keep one pod of each shape on zonelet, from which the raw ones are made."""
    made: dict[str, JobTemplate] = {}
    names: list[str] = []
    try:
        for shape in _SHAPES:
            made[shape.name], name = await raw_jobs.take_template(client, api, installation, own, shape)
            names.append(name)
        yield made
    finally:
        version = (await api.list("/api/v1/namespaces/default/pods"))["metadata"]["resourceVersion"]
        await remove(api, names, version)


def _rates(bursts: Mapping[str, Found], number: int) -> str:
    return "; ".join(
        f"{shape.name}: zonelet {found.own[number].rate:.2f}/s, stock {found.stock[number].rate:.2f}/s, "
        f"raw Docker {found.raw[number].rate:.2f}/s"
        for shape in _SHAPES
        for found in (bursts[shape.name],)
    )


def _burst_table(shape: Shape, count: int, found: Found) -> str:
    figures: list[tuple[str, Callable[[Taken], float]]] = [
        ("pods/s, creation to the last Succeeded", lambda taken: taken.rate),
        ("p50 to Running, s", lambda taken: taken.p50),
        ("last Succeeded, s", lambda taken: taken.window),
        ("CPU per pod, ms: provider; kubelet and its containerd", lambda taken: taken.cpu_per_pod),
        ("CPU per pod of the whole machine, ms", lambda taken: taken.machine_per_pod),
    ]
    rows = []
    for name, figure in figures:
        own, stock, raw = (median(map(figure, side)) for side in (found.own, found.stock, found.raw))
        beside = (f"{raw:.2f}", f"{own / raw:.2f}") if raw else ("-", "-")
        rows.append((name, f"{own:.2f}", f"{stock:.2f}", f"{own / stock:.2f}", *beside))
    header = (f"burst of {count} {shape.name}", "zonelet", "stock kubelet", "ratio", "raw Docker", "ratio")
    return markdown(header, rows)


def _rest(bursts: Mapping[str, Found], alone: Mapping[str, Found], count: int) -> str:
    def row(name: str, found: Found, figure: Callable[[Taken], float]) -> tuple[str, str, str, str]:
        own, stock = (median(map(figure, side)) for side in (found.own, found.stock))
        return name, f"{own:.2f}", f"{stock:.2f}", f"{own / stock:.2f}"

    rows = []
    for shape, name in ((JOB, "one job"), (ARGO, "one Argo-shaped pod")):
        rows.append(row(f"{name}: Running after, s", alone[shape.name], lambda taken: taken.running[0]))
        rows.append(row(f"{name}: Succeeded after, s", alone[shape.name], lambda taken: taken.ended[0]))
    removal = f"removal of {count} running pods (1 s of grace), s"
    rows.append(row(removal, bursts[RUNNING.name], lambda taken: taken.removal))
    return markdown(("one pod on idle nodes, and removal", "zonelet", "stock kubelet", "ratio"), rows)
