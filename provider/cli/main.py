"""The command `zonelet`."""

from __future__ import annotations

import asyncio
import os
import re
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from provider.cli.tables import Output, render

if TYPE_CHECKING:
    from provider.cluster.local import LocalCluster

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?")


class ClusterKind(StrEnum):
    """What `up` brings up or joins."""

    LOCAL = "local"
    CURRENT = "current"


def _valid_name(value: str) -> str:
    if _NAME.fullmatch(value) is None:
        raise typer.BadParameter("at most 32 lower-case letters, digits and inner hyphens")
    return value


Name = Annotated[str, typer.Option("--name", help="Name of the installation.", callback=_valid_name)]
Format = Annotated[Output, typer.Option("--output", "-o", help="How to print.")]


@app.command()
def up(cluster: ClusterKind = ClusterKind.LOCAL, name: Name = "zonelet") -> None:
    """Bring up the local control plane: etcd, API server, controller manager, scheduler. There are no nodes yet."""
    from provider.cluster.steps import SetupError

    if cluster is ClusterKind.CURRENT:
        raise SetupError(
            "up --cluster current is not there yet",
            "the provider that would join the cluster is not written yet",
            "run: zonelet up --cluster local",
        )
    asyncio.run(_up(_local(name)))


@app.command()
def down(name: Name = "zonelet") -> None:
    """Take the local control plane down and remove what `up` made; the cache and the engine stay."""
    from provider.cluster.steps import Steps

    local = _local(name)
    with Steps().step(f"stop the control plane {name}"):
        asyncio.run(local.stop())


@app.command()
def status(name: Name = "zonelet", output: Format = Output.TABLE) -> None:
    """Tell which parts of the local control plane run."""
    local = _local(name)
    rows = [
        {"component": part, "running": pid is not None, "pid": pid, "log": str(local.state / "run" / f"{part}.log")}
        for part, pid in local.status().items()
    ]
    typer.echo(render(rows, output, wide_only=("log",)))


@app.command()
def kubeconfig(name: Name = "zonelet") -> None:
    """Print the path of the administrator's kubeconfig."""
    from provider.cluster.steps import SetupError

    path = _local(name).kubeconfig
    if not path.exists():
        raise SetupError(f"{path} is not there", f"the cluster {name} is not up", "run: zonelet up")
    typer.echo(path)


@app.command()
def doctor(
    output: Format = Output.TABLE,
    subnet: Annotated[list[str] | None, typer.Option(help="A CIDR that must be free; may be repeated.")] = None,
    port: Annotated[list[int] | None, typer.Option(help="A TCP port that must be free; may be repeated.")] = None,
) -> None:
    """Say what this machine lacks and how to get it; exit code 1 when something is missing."""
    from provider.cluster.doctor import examine

    findings = examine(subnet or [], port or [])
    rows = [{"check": each.check, "ok": each.ok, "found": each.found, "advice": each.advice} for each in findings]
    typer.echo(render(rows, output))
    if not all(each.ok for each in findings):
        raise typer.Exit(1)


async def _up(local: LocalCluster) -> None:
    from provider.cluster.build import build_all, cache_root
    from provider.cluster.steps import Steps

    steps = Steps()
    with steps.step("build Kubernetes and etcd, or take them from the cache") as report:
        binaries = build_all(cache_root(), report)
    await local.start(binaries, steps)
    typer.echo(f"Try: {binaries.kubectl} --kubeconfig {local.kubeconfig} get namespaces")


def _local(name: str) -> LocalCluster:
    from provider.clock import SystemClock
    from provider.cluster.local import LocalCluster

    state = Path(os.environ.get("ZONELET_STATE_DIR") or Path("/var/lib/zonelet") / name)
    return LocalCluster(name, state.absolute(), SystemClock())


def main() -> None:
    """Run the command; a failed step says what, why and what next, and exits with 1."""
    from provider.cluster.build_command import BuildError
    from provider.cluster.steps import Steps

    try:
        app()
    except BuildError as error:
        Steps().failure(error)
        raise SystemExit(1) from None
