"""`zonelet cost`: the usage ledger of the cloud, summed by what it was for. A client of the elastic API.

Sums are exact in JSON, YAML and CSV: `*_units` are ints, millionths of the currency x seconds / hour. Decimals are
rounded to show.
"""

from __future__ import annotations

import csv
import io
import json
import re
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Final

import typer
import yaml

from provider.cli.options import Name  # noqa: TC001 - typer reads it
from provider.cli.stock import Backend, ask
from provider.cli.tables import Output, render
from provider.model.bill import Total, money, totals
from provider.model.size import GIB, InstanceSize

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from provider.model.bill import UsageRecord

__all__ = ["By", "CostOutput", "cost", "cost_rows", "since_of"]

Row = dict[str, object]
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_AGO = re.compile(r"(\d+)([smhdw])")
_WIDE_ONLY = ("running", "wasted_failed", "wasted_stopped", "uid", "started_at", "ended_at", "size", "market")
_NOTHING = "(none)"


class By(StrEnum):
    """What attempts are summed by; ATTEMPT: not at all."""

    WORKFLOW = "workflow"
    TEMPLATE = "template"
    NAMESPACE = "namespace"
    ZONE = "zone"
    MARKET = "market"
    ATTEMPT = "attempt"


class CostOutput(StrEnum):
    """What -o takes here."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"
    CSV = "csv"


def since_of(text: str, now: float) -> float:
    """Return the moment that `--since` names: `90m`, `24h`, `7d` ago, or an ISO 8601 time, UTC if it has no zone."""
    ago = _AGO.fullmatch(text)
    if ago:
        return now - int(ago[1]) * _SECONDS[ago[2]]
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        allowed = "write 90m, 24h or 7d, or a time such as 2026-11-24T18:00:00Z"
        raise typer.BadParameter(f"{text!r} is no moment; {allowed}", param_hint="--since") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def cost(
    by: Annotated[By, typer.Option("--by", help="What to sum by.")] = By.WORKFLOW,
    since: Annotated[str, typer.Option(help="Attempts that began since: 24h, 7d, 2026-11-24T18:00:00Z.")] = "",
    output: Annotated[CostOutput, typer.Option("--output", "-o", help="How to print.")] = CostOutput.TABLE,
    name: Name = "zonelet",
    backend: Backend = "",
) -> None:
    """Tell what pods cost: spent, saved against pay-as-you-go, and wasted on attempts that did not succeed."""
    from provider.clock import SystemClock

    begun = since_of(since, SystemClock().now()) if since else None
    records = ask(name, backend, lambda cloud: cloud.describe_usage_records(begun))
    rows = cost_rows(records, by)
    match output:
        case CostOutput.JSON | CostOutput.YAML:
            typer.echo(_document(by, rows, records, output))
        case CostOutput.CSV:
            typer.echo(_csv(by, [_exact(row, total) for row, total in rows]))
        case CostOutput.TABLE | CostOutput.WIDE:
            typer.echo(_table(by, rows, records, Output(output.value)))
    unpriced = sum(record.price is None for record in records)
    if unpriced:
        note = f"{unpriced} of {len(records)} attempts were sold under a profile without prices: their money is unknown"
        advice = "set `profile` in the configuration; zonelet check --profile tells what a pod costs"
        typer.echo(f"{note}; {advice}", err=True)


def cost_rows(records: Sequence[UsageRecord], by: By) -> list[tuple[Row, Total]]:
    """Return what a row is of, and its sum; the most expensive first. Currencies are never added to each other."""

    def key(record: UsageRecord) -> tuple[str, str]:
        return record.uid if by is By.ATTEMPT else _key(record, by), record.currency

    named = {key(record): record for record in records}
    found = [(_head(named[one], by), total) for one, total in totals(records, key).items()]
    return sorted(found, key=lambda one: (-one[1].spent, -one[1].cpu_seconds, str(one[0][by.value])))


def _key(record: UsageRecord, by: By) -> str:
    match by:
        case By.WORKFLOW:
            workflow = record.tag("workflow")
            return f"{record.namespace}/{workflow}" if workflow else _NOTHING
        case By.TEMPLATE:
            return record.tag("template") or _NOTHING
        case By.NAMESPACE:
            return record.namespace
        case By.ZONE:
            return record.zone
        case By.MARKET:
            return record.market.value
        case By.ATTEMPT:
            return f"{record.namespace}/{record.name}"


def _head(record: UsageRecord, by: By) -> Row:
    head: Row = {by.value: _key(record, by)}
    if by is By.ATTEMPT:
        head |= {
            "uid": record.uid,
            "outcome": record.outcome.value,
            "size": InstanceSize(record.cpu, record.memory, type=record.family if "." in record.family else "").name,
            "market": record.market.value,
            "started_at": _time(record.started_at),
            "ended_at": None if record.ended_at is None else _time(record.ended_at),
        }
    return head | {"currency": record.currency}


def _time(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _by_currency(records: Iterable[UsageRecord]) -> list[tuple[Row, Total]]:
    sums = totals(records, lambda one: one.currency)
    return [({"currency": currency}, total) for currency, total in sorted(sums.items(), key=lambda one: one[0])]


def _exact(row: Row, total: Total) -> Row:
    """Return a row for programs: ints, and money as decimal texts beside its units; None without prices."""
    amounts: Row = {
        "attempts": total.attempts,
        "running": total.running,
        "seconds": total.seconds,
        "cpu_milli_seconds": total.cpu_seconds,
        "memory_byte_seconds": total.memory_seconds,
    }
    for name in ("spent", "saved", "wasted", "wasted_failed", "wasted_stopped"):
        units: int = getattr(total, name)
        amounts[name] = money(units) if row["currency"] else None
        amounts[f"{name}_units"] = units if row["currency"] else None
    return {**row, **amounts}


def _document(by: By, rows: list[tuple[Row, Total]], records: Sequence[UsageRecord], output: CostOutput) -> str:
    document = {
        "by": by.value,
        "units_of_one": 3_600_000_000,
        "rows": [_exact(row, total) for row, total in rows],
        "totals": [_exact(row, total) for row, total in _by_currency(records)],
    }
    if output is CostOutput.JSON:
        return json.dumps(document, indent=2)
    return yaml.safe_dump(document, sort_keys=False).rstrip()


def _csv(by: By, rows: list[Row]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else [by.value], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().rstrip("\n")


def _table(by: By, rows: list[tuple[Row, Total]], records: Sequence[UsageRecord], output: Output) -> str:
    if not rows:
        return "nothing was charged"
    sums = [({**dict.fromkeys(rows[0][0]), by.value: "total", **row}, total) for row, total in _by_currency(records)]
    return render([_shown(row, total) for row, total in (*rows, *sums)], output, wide_only=_WIDE_ONLY)


def _shown(row: Row, total: Total) -> Row:
    """Return a row for people: hours to three decimals, money to four."""
    currency = row["currency"]
    shown: Row = {name: value for name, value in row.items() if name != "currency"} | {
        "attempts": total.attempts,
        "running": total.running,
        "seconds": total.seconds,
        "vcpu_h": f"{total.cpu_seconds / 3_600_000:.3f}",
        "gib_h": f"{total.memory_seconds / (3600 * GIB):.3f}",
    }
    for name in ("spent", "saved", "wasted", "wasted_failed", "wasted_stopped"):
        shown[name] = f"{money(getattr(total, name), 4)} {currency}" if currency else None
    return shown
