"""The peer on the same API server: a stock kubelet with containerd. Rounds alternate between it and zonelet."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

from provider.cluster.stock_layout import STOCK_TAINT
from provider.cluster.stock_node import StockNode
from tests.bench.jobs import ARGO, JOB, RUNNING, Shape, Side, Taken, burst
from tests.bench.report import markdown

if TYPE_CHECKING:
    from collections.abc import Callable

    from provider.cluster.installation import Installation
    from provider.kube.client import KubeApi

ALONE = 5
"""Pods of each shape that are run one at a time on idle nodes, each round."""
_HEADER = ("zonelet", "stock kubelet", "ratio")


def sides(installation: Installation) -> tuple[Side, Side]:
    """Return zonelet and its peer. Pods go to the virtual nodes unless they tolerate the stock node's taint."""
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
    """Run both sides in turn; return the tables: bursts of two shapes, single pods, removal."""
    own, peer = sides(installation)
    found: dict[tuple[str, str], list[Taken]] = {}
    alone: dict[tuple[str, str], list[Taken]] = {}
    for side in (own, peer):  # nothing is measured for the first time
        for shape in (JOB, ARGO):
            await burst(api, side, shape, [f"warm-{side.name}-{index}" for index in range(4)])
    for number in range(rounds):
        for shape in (JOB, ARGO, RUNNING):
            for side in (peer, own) if number % 2 else (own, peer):
                names = [f"{side.name}-{number}-{index}" for index in range(count)]
                found.setdefault((shape.name, side.name), []).append(await burst(api, side, shape, names))
        for shape in (JOB, ARGO):
            for index in range(ALONE):
                for side in (own, peer):
                    taken = await burst(api, side, shape, [f"{side.name}-{number}-alone-{index}"])
                    alone.setdefault((shape.name, side.name), []).append(taken)
        print(f"round {number + 1} with the stock kubelet: {_rates(found, number)}", flush=True)
    return [
        *(
            _burst_table(shape, count, found[shape.name, own.name], found[shape.name, peer.name])
            for shape in (JOB, ARGO)
        ),
        _rest(found, alone, own, peer, count),
    ]


def _rates(found: dict[tuple[str, str], list[Taken]], number: int) -> str:
    return ", ".join(
        f"{side} {each[number].rate:.2f}/s" for (shape, side), each in found.items() if shape != RUNNING.name
    )


def _burst_table(shape: Shape, count: int, own: list[Taken], peer: list[Taken]) -> str:
    figures: list[tuple[str, Callable[[Taken], float]]] = [
        ("pods/s, creation to the last Succeeded", lambda taken: taken.rate),
        ("p50 to Running, s", lambda taken: taken.p50),
        ("last Succeeded, s", lambda taken: taken.window),
        ("CPU per pod, ms: provider; kubelet and its containerd", lambda taken: taken.cpu_per_pod),
        ("CPU per pod of the whole machine, ms", lambda taken: taken.machine_per_pod),
    ]
    rows = [_row(name, median(map(figure, own)), median(map(figure, peer))) for name, figure in figures]
    return markdown((f"burst of {count} {shape.name}", *_HEADER), rows)


def _rest(
    found: dict[tuple[str, str], list[Taken]],
    alone: dict[tuple[str, str], list[Taken]],
    own: Side,
    peer: Side,
    count: int,
) -> str:
    def both(shape: Shape, source: dict[tuple[str, str], list[Taken]], figure: Callable[[Taken], float]) -> list[float]:
        return [median(map(figure, source[shape.name, side.name])) for side in (own, peer)]

    rows = [
        _row("one job: Running after, s", *both(JOB, alone, lambda taken: taken.running[0])),
        _row("one job: Succeeded after, s", *both(JOB, alone, lambda taken: taken.ended[0])),
        _row("one Argo-shaped pod: Running after, s", *both(ARGO, alone, lambda taken: taken.running[0])),
        _row("one Argo-shaped pod: Succeeded after, s", *both(ARGO, alone, lambda taken: taken.ended[0])),
        _row(f"removal of {count} running pods (1 s of grace), s", *both(RUNNING, found, lambda taken: taken.removal)),
    ]
    return markdown(("one pod on idle nodes, and removal", *_HEADER), rows)


def _row(name: str, own: float, peer: float) -> tuple[str, str, str, str]:
    return name, f"{own:.2f}", f"{peer:.2f}", f"{own / peer:.2f}"
