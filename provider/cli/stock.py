"""`zonelet zones` and `zonelet stock`: clients of the elastic API's zones and operations.

They ask the provider's own process, at the socket in its state directory or where its configuration says; `--backend`
asks another one.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from provider.cli.options import Format, Name  # noqa: TC001 - typer reads it
from provider.cli.tables import Output, render
from provider.model.quantity import bytes_text, cpu_text, milli, whole

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from provider.model.capacity import ZoneStatus
    from provider.model.stock import StockChange, StockStatus
    from provider.rpc.client import RemoteBackend

__all__ = ["Backend", "app", "ask", "stock_row", "zone_row", "zones"]

Row = dict[str, object]
T = TypeVar("T")

app = typer.Typer(
    invoke_without_command=True, help="What each zone can sell; `set`, `close`, `open` and `reset` change it."
)

Backend = Annotated[str, typer.Option("--backend", help="Address of the elastic API; else the installation's own.")]
Zone = Annotated[str, typer.Argument(help="Name of the zone.", metavar="ZONE")]
Cpu = Annotated[
    int | None, typer.Option("--cpu", help="vCPU in all: 200, 500m.", parser=lambda text: _amount(text, milli))
]
Memory = Annotated[
    int | None, typer.Option("--memory", help="Memory in all: 800Gi.", parser=lambda text: _amount(text, whole))
]
Storage = Annotated[
    int | None,
    typer.Option(
        "--ephemeral-storage", help="Disk in all: 10Ti; 0: not counted.", parser=lambda text: _amount(text, whole)
    ),
]
Instances = Annotated[int | None, typer.Option("--instances", min=0, help="Most instances at a time.")]
Reserve = Annotated[
    float | None, typer.Option("--spot-reserve", min=0, max=1, help="Share that spot instances leave free, 0 to 1.")
]


def _amount(text: str, read: Callable[[str], int]) -> int:
    try:
        return read(text)
    except ValueError as error:
        raise typer.BadParameter(f"{error}; write it as 200, 500m or 800Gi") from None


def zones(name: Name = "zonelet", output: Format = Output.TABLE, backend: Backend = "") -> None:
    """List the zones: their stock, what is sold, who waits, and their addresses."""
    found = ask(name, backend, lambda cloud: cloud.describe_zones())
    typer.echo(render([zone_row(status) for status in found], output, wide_only=("node_address", "vswitches")))


@app.callback()
def listed(
    context: typer.Context, name: Name = "zonelet", output: Format = Output.TABLE, backend: Backend = ""
) -> None:
    """List the pools of every zone."""
    if context.invoked_subcommand is None:
        _show(ask(name, backend, lambda cloud: cloud.describe_zones()), output)


@app.command("set")
def set_stock(
    zone: Zone,
    cpu: Cpu = None,
    memory: Memory = None,
    ephemeral_storage: Storage = None,
    instances: Instances = None,
    spot_reserve: Reserve = None,
    name: Name = "zonelet",
    output: Format = Output.TABLE,
    backend: Backend = "",
) -> None:
    """Let a zone have so much in all until it is reset; what is not named stays. Running pods are never touched."""
    said = {
        "cpu": cpu,
        "memory": memory,
        "ephemeral_storage": ephemeral_storage,
        "instances": instances,
        "spot_reserve": spot_reserve,
    }
    if all(value is None for value in said.values()):
        raise typer.BadParameter("say what to set: --cpu, --memory, --ephemeral-storage, --instances or --spot-reserve")
    _change(zone, said, name, output, backend)


@app.command()
def close(zone: Zone, name: Name = "zonelet", output: Format = Output.TABLE, backend: Backend = "") -> None:
    """Let a zone sell nothing until it is opened; what runs there goes on."""
    _change(zone, {"closed": True}, name, output, backend)


@app.command("open")
def open_zone(zone: Zone, name: Name = "zonelet", output: Format = Output.TABLE, backend: Backend = "") -> None:
    """Let a closed zone sell again."""
    _change(zone, {"closed": False}, name, output, backend)


@app.command()
def reset(zone: Zone, name: Name = "zonelet", output: Format = Output.TABLE, backend: Backend = "") -> None:
    """Let the configuration's stock hold again."""
    from provider.model.ids import ZoneId

    _show([ask(name, backend, lambda cloud: cloud.reset_stock(ZoneId(zone)))], output)


def _change(zone: str, said: Mapping[str, object], name: str, output: Output, backend: str) -> None:
    from provider.model.ids import ZoneId
    from provider.model.stock import StockChange

    change: StockChange = StockChange(zone=ZoneId(zone), **said)  # type: ignore[arg-type]
    _show([ask(name, backend, lambda cloud: cloud.set_stock(change))], output)


def _show(found: Sequence[ZoneStatus], output: Output) -> None:
    rows = [stock_row(status.zone.id, pool) for status in found for pool in status.stock]
    typer.echo(
        render(
            rows, output, wide_only=("spot_stock", "spot_reserve", "ephemeral_storage", "queued_cpu", "queued_memory")
        )
    )


def zone_row(status: ZoneStatus) -> Row:
    """Return a zone as `zonelet zones` shows it."""
    words = sorted({pool.word.value for pool in status.stock})
    return {
        "zone": status.zone.id,
        "stock": ", ".join(words),
        "instances": status.instances,
        "waiting": status.waiting,
        "cpu_sold": cpu_text(status.cpu_used),
        "memory_sold": bytes_text(status.memory_used),
        "addresses": f"{sum(each.used for each in status.vswitches)}/{sum(each.usable for each in status.vswitches)}",
        "vswitches": ", ".join(f"{each.id} {each.cidr}" for each in status.vswitches),
        "node_address": status.node_address,
    }


def stock_row(zone: str, pool: StockStatus) -> Row:
    """Return a pool as `zonelet stock` shows it: sold of what holds."""
    holds, sold = pool.holds, pool.sold
    return {
        "zone": zone,
        "family": pool.family,
        "stock": pool.word.value,
        "spot_stock": pool.spot_word.value,
        "cpu": f"{cpu_text(sold.cpu)}/{cpu_text(holds.cpu)}",
        "memory": f"{bytes_text(sold.memory)}/{bytes_text(holds.memory)}",
        "ephemeral_storage": f"{bytes_text(sold.ephemeral_storage)}/{bytes_text(holds.ephemeral_storage)}",
        "instances": f"{sold.instances}/{'-' if holds.instances is None else holds.instances}",
        "spot_reserve": holds.spot_reserve,
        "waiting": pool.queued.instances,
        "queued_cpu": cpu_text(pool.queued.cpu),
        "queued_memory": bytes_text(pool.queued.memory),
        "set_by": "operator" if pool.overridden else "configuration",
    }


def ask(name: str, backend: str, question: Callable[[RemoteBackend], Awaitable[T]]) -> T:
    """Return the cloud's answer. SetupError with the cloud's own words."""
    from provider.clock import SystemClock
    from provider.cluster.elastic_api import asked
    from provider.cluster.installation import Installation

    return asyncio.run(asked(Installation.find(name, SystemClock()), backend, question))
