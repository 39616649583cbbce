"""The command `zonelet`."""

from __future__ import annotations

import asyncio
import os
from dataclasses import asdict
from enum import StrEnum
from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from provider.cli import stock
from provider.cli.check import check
from provider.cli.cost import cost
from provider.cli.daemon import run
from provider.cli.options import Format, Name  # noqa: TC001 - typer reads them
from provider.cli.tables import Output, render, render_sections

if TYPE_CHECKING:
    from provider.cluster.installation import Installation

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)

app.command()(run)
app.command()(check)
app.command()(cost)
app.command()(stock.zones)
app.add_typer(stock.app, name="stock")


class ClusterKind(StrEnum):
    """What `up` brings up or joins."""

    LOCAL = "local"
    CURRENT = "current"


def _cidr(value: str) -> str:
    try:
        return str(ip_network(value))
    except ValueError as error:
        raise typer.BadParameter(f"{error}; write it as 10.20.0.0/24") from None


Config = Annotated[
    Path | None,
    typer.Option(
        "--config", "-c", help="Configuration of your own; without it everything has a default.", dir_okay=False
    ),
]


Foreground = Annotated[
    bool,
    typer.Option(
        "--foreground", help="Become the provider in place of starting it, as in a container; --cluster current only."
    ),
]


@app.command()
def up(
    cluster: ClusterKind = ClusterKind.LOCAL,
    name: Name = "zonelet",
    config: Config = None,
    with_stock_node: Annotated[
        bool, typer.Option("--with-stock-node", help="Add a stock kubelet with containerd to the local cluster.")
    ] = False,
    foreground: Foreground = False,
) -> None:
    """Bring up virtual nodes, with a local cluster and Argo Workflows, or in the cluster of the current context."""
    from provider.cluster.root import require_root
    from provider.cluster.steps import Steps
    from provider.cluster.termination import run_undoable

    require_root("up", os.geteuid())
    installation = _installation(name)
    if foreground:
        if cluster is not ClusterKind.CURRENT or with_stock_node:
            raise typer.BadParameter("only with --cluster current", param_hint="--foreground")
        from provider.cluster.joined import join_cluster
        from provider.cluster.provider_daemon import provider_command

        run_undoable(join_cluster(installation, Steps(), config=config, start=False))
        argv, environment = provider_command(installation)
        os.execve(argv[0], argv, environment)  # noqa: S606 - the provider takes this process's place
    if cluster is ClusterKind.CURRENT:
        if with_stock_node:
            raise typer.BadParameter("a stock node joins the local cluster only: leave --cluster current out")
        from provider.cluster.joined import join_cluster
        from provider.cluster.next_steps import after_joining

        nodes = run_undoable(join_cluster(installation, Steps(), config=config))
        typer.echo(after_joining(installation, nodes))
        return
    from provider.cluster.kube_context import user_kubeconfig
    from provider.cluster.local_up import up_local
    from provider.cluster.next_steps import after_up

    user = user_kubeconfig(os.environ)
    running = run_undoable(up_local(installation, Steps(), config=config, user_kubeconfig=user, stock=with_stock_node))
    typer.echo(after_up(installation, running))


@app.command()
def down(
    name: Name = "zonelet",
    forget_cluster: Annotated[
        bool, typer.Option("--forget-cluster", help="Do not ask the cluster that was joined: it is gone for good.")
    ] = False,
) -> None:
    """Remove all that `up` made: processes, containers, networks, kube context, state. Images and engine stay."""
    from provider.cluster.down import take_down
    from provider.cluster.root import require_root
    from provider.cluster.steps import Steps
    from provider.cluster.termination import run_undoable

    require_root("down", os.geteuid())
    run_undoable(take_down(_installation(name), Steps(), forget_cluster=forget_cluster))


@app.command()
def status(name: Name = "zonelet", output: Format = Output.TABLE) -> None:
    """Tell which parts run, the nodes, the zones and Argo."""
    from provider.cluster.overview import look_at

    seen = asyncio.run(look_at(_installation(name)))
    sections = {key: value for key, value in asdict(seen).items() if key != "problems"}
    typer.echo(render_sections(sections, output, wide_only=("log", "version", "runtime", "image")))
    for problem in seen.problems:
        typer.echo(problem, err=True)


@app.command()
def kubeconfig(name: Name = "zonelet") -> None:
    """Print the path of the local cluster's administrator kubeconfig."""
    from provider.cluster.steps import SetupError

    installation = _installation(name)
    record = installation.record()
    if record is not None and record.cluster != "local":
        raise SetupError(
            f"the installation {name} has no cluster of its own",
            f"it joined the cluster of the context {record.context}",
            f"use the kubeconfig that has this context: kubectl --context {record.context} get nodes",
        )
    path = installation.local.kubeconfig
    if not path.exists():
        raise SetupError(f"{path} is not there", f"the cluster {name} is not up", "run: zonelet up")
    typer.echo(path)


@app.command()
def doctor(
    name: Name = "zonelet",
    config: Config = None,
    output: Format = Output.TABLE,
    subnet: Annotated[
        list[str] | None, typer.Option(help="A CIDR that must be free; may be repeated.", parser=_cidr)
    ] = None,
    port: Annotated[
        list[int] | None, typer.Option(help="A TCP port that must be free; may be repeated.", min=1, max=65_535)
    ] = None,
) -> None:
    """Say what this machine lacks and how to get it; exit code 1 when something is missing."""
    from provider.cluster.doctor import examine, in_order

    findings = asyncio.run(examine(_installation(name), config, subnet or [], port or []))
    rows = [
        {"check": each.check, "state": each.state, "found": each.found, "means": each.means, "advice": each.advice}
        for each in findings
    ]
    typer.echo(render(rows, output, wide_only=("means",)))
    if not in_order(findings):
        raise typer.Exit(1)


def _installation(name: str) -> Installation:
    from provider.clock import SystemClock
    from provider.cluster.installation import Installation

    return Installation.find(name, SystemClock())


def main() -> None:
    """Run the command; a failed step says what, why and what next, and exits with 1, a wrong configuration with 2."""
    from provider.cluster.build_command import BuildError
    from provider.cluster.steps import SetupError, Steps
    from provider.config.load import ConfigError
    from provider.kube.client import KubeError

    try:
        app()
    except ConfigError as error:
        for mistake in error.mistakes:
            typer.echo(mistake, err=True)
        raise SystemExit(2) from None
    except BuildError as error:
        Steps().failure(error)
        raise SystemExit(1) from None
    except KubeError as error:
        Steps().failure(SetupError("the API server refused, or did not answer", str(error), "see: zonelet status"))
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
