"""`make bench`: this project against raw Docker API calls that make the same containers, interleaved in one run.

Rounds alternate between the two, on one engine and one machine, with the control plane up and idle in both. The
simulated runtime is measured at the end: 1,000 pods, through the same API server and scheduler. The tables are printed,
and with --write put into docs/performance.md.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from provider.clock import SystemClock
from provider.cloud.runtime.docker_engine.client import open_client
from provider.cluster.down import take_down
from provider.cluster.installation import Installation
from provider.cluster.local_up import up_local
from provider.cluster.steps import Steps
from provider.cluster.termination import run_undoable
from provider.kube.client import HttpKubeApi
from tests.bench import pods, raw_docker
from tests.bench.fan_out import fan_out_table
from tests.bench.measure import usage
from tests.bench.report import docker_rows, idle_rows, markdown, simulated_rows, with_tables
from tests.bench.simulated import SimulatedProvider
from tests.bench.stock import stock_tables
from tests.support.leftovers import STATES, sweep
from tests.support.names import own_name

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiodocker import Docker

    from provider.clock import Clock
    from tests.bench.measure import Burst

NAME = own_name("bench")
"""As tests are named: what a bench that was killed has left goes before the next one, or the next test."""

REPORT = Path("docs/performance.md")
RAW_IN_FLIGHT = 4
"""As many as zonelet starts at a time (runtime.docker.startsInFlight)."""
IDLE_SECONDS = 60.0


async def bench(rounds: int, count: int, simulated: int, *, stock: bool) -> str:
    """Run everything and return the tables; `stock`: against a stock kubelet too."""
    clock = SystemClock()
    with tempfile.TemporaryDirectory(prefix=f"zl-{NAME}-", dir=STATES) as directory:
        installation = Installation(NAME, Path(directory) / "state", clock)
        async with cluster(installation, stock=stock) as api:
            own, raw = await docker_rounds(installation, api, rounds, count)
            against_stock = await stock_tables(installation, api, rounds, count) if stock else []
            idle = await idle_cpu(installation, clock)
            found, rss_before = await simulated_run(installation, api, clock, simulated)
            fan_out = [await fan_out_table(installation, api, rounds)] if stock else []
    taken = f"{datetime.now(UTC):%Y-%m-%d}, commit {commit()}, {os.cpu_count()} cores, profile `plain`"
    tables = [
        f"{taken}; {rounds} rounds of {count} pods on each side, interleaved.",
        markdown(("burst of one-container pods", "zonelet", "raw Docker", "ratio"), docker_rows(own, raw)),
        *against_stock,
        *fan_out,
        markdown(("simulated runtime", "zonelet"), simulated_rows(found, rss_before)),
        markdown(("nothing to do", "zonelet"), idle_rows(idle, IDLE_SECONDS)),
    ]
    return "\n\n".join(tables)


@asynccontextmanager
async def cluster(installation: Installation, *, stock: bool) -> AsyncIterator[HttpKubeApi]:
    """Bring up a cluster without Argo and its provider on the Docker engine; take it down again."""
    await up_local(installation, Steps(), argo=False, stock=stock)
    try:
        api = await HttpKubeApi.from_kubeconfig(str(installation.local.kubeconfig))
        try:
            yield api
        finally:
            await api.close()
    finally:
        await take_down(installation, Steps())


async def docker_rounds(
    installation: Installation, api: HttpKubeApi, rounds: int, count: int
) -> tuple[list[Burst], list[Burst]]:
    """Alternate between both; return the bursts of zonelet and of raw Docker."""
    pid = pid_of(installation)
    own, raw = [], []
    async with open_client("") as client, pods.running(api, "template") as uid:
        template = await template_of(client, uid)
        await pods.burst(api, [f"warm-{index}" for index in range(8)], pid)
        for number in range(rounds):
            addresses = raw_docker.free_addresses(installation, template.address, count)
            raw.append(await raw_docker.burst(client, template, addresses, RAW_IN_FLIGHT))
            own.append(await pods.burst(api, [f"pod-{number}-{index}" for index in range(count)], pid))
            print(f"round {number + 1}: zonelet {own[-1].rate:.2f} pods/s, raw Docker {raw[-1].rate:.2f}", flush=True)
    return own, raw


def pid_of(installation: Installation) -> int:
    """Return the provider's pid."""
    pid = installation.provider.pid()
    if pid is None:
        raise RuntimeError(f"the provider is not running: read {installation.provider.log}")
    return pid


async def idle_cpu(installation: Installation, clock: Clock) -> float:
    """Return the CPU seconds of the provider in IDLE_SECONDS, with three nodes and no pod."""
    pid = pid_of(installation)
    before = usage(pid)
    await clock.sleep(IDLE_SECONDS)
    return usage(pid).cpu - before.cpu


async def template_of(client: Docker, uid: str) -> raw_docker.Template:
    """Return the bodies that the peer makes, from a pod that zonelet made and that stays while they are used."""
    found = await client.containers.list(filters={"label": [f"dev.zonelet.uid={uid}"]})
    shown = [await each.show() for each in found]
    sandbox = next(each for each in shown if each["NetworkSettings"]["Networks"])
    (main,) = [each for each in shown if each is not sandbox]
    return raw_docker.Template(sandbox, main)


async def simulated_run(installation: Installation, api: HttpKubeApi, clock: Clock, count: int) -> tuple[Burst, int]:
    """Return the figures of `count` pods on simulated instances, and the provider's resident bytes before."""
    provider = SimulatedProvider(installation)
    async with provider.running(api, clock) as pid:
        before = usage(pid)
        return await pods.burst(api, [f"sim-{index}" for index in range(count)], pid, provider.selector), before.rss


def commit() -> str:
    """Return the commit of the tree, with a star when it has changes."""
    run = ["git", "describe", "--always", "--dirty=*", "--exclude=*"]
    return subprocess.run(run, check=True, capture_output=True, text=True).stdout.strip()


def main() -> None:
    """Parse the command line, run, print, and write."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--stock", action="store_true", help="measure against a stock kubelet with containerd too")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pods", type=int, default=60)
    parser.add_argument("--simulated", type=int, default=1000)
    parser.add_argument("--write", action="store_true", help=f"put the tables into {REPORT}")
    given = parser.parse_args()
    sweep()
    tables = run_undoable(bench(given.rounds, given.pods, given.simulated, stock=given.stock))
    print(tables)
    if given.write:
        REPORT.write_text(with_tables(REPORT.read_text(), tables))


if __name__ == "__main__":
    main()
