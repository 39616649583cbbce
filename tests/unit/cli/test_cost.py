"""`zonelet cost` against a cloud in this process; the guide's commands are run here, over a ledger that is written."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import re
import shlex
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import typer
import yaml
from typer.testing import CliRunner

from provider.cli.cost import By, since_of
from provider.cli.main import app
from provider.clock import SystemClock
from provider.cloud.instances.journal import Journal
from provider.model.bill import Outcome, UsageRecord
from provider.model.ids import InstanceId, PodUid, ZoneId
from provider.model.size import GIB
from provider.rpc.server import serve
from tests.support.cloud_worlds import local_backend, simulated_world

if TYPE_CHECKING:
    from collections.abc import Iterator

GUIDE = Path(__file__).parents[3] / "docs" / "guides" / "cost.md"
_BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TEN = 1_795_514_400.0
"""2026-11-24T10:00:00Z"""


def attempt(name: str, zone: str, after: float, seconds: int, outcome: Outcome, **fields: Any) -> UsageRecord:
    price = fields.pop("price", 441_072)
    given = {"cpu": 2_000, "memory": 4 * GIB, "namespace": "default", **fields}
    return UsageRecord(
        uid=PodUid(f"uid-{name}"),
        id=InstanceId(f"eci-{name}"),
        zone=ZoneId(zone),
        name=name,
        price=price,
        list_price=price,
        currency="CNY" if price is not None else "",
        started_at=TEN + after,
        ended_at=TEN + after + seconds,
        seconds=seconds,
        outcome=outcome,
        **given,
    )


def of_workflow(workflow: str, template: str) -> tuple[tuple[str, str], ...]:
    return (("workflow", workflow), ("template", template))


WORK, PACK = of_workflow("fan", "work"), of_workflow("fan", "pack")
LEDGER = [
    attempt("fan-work-101", "zone-a", 0, 61, Outcome.SUCCEEDED, tags=WORK),
    attempt("fan-work-102", "zone-b", 0.5, 40, Outcome.FAILED, tags=WORK),
    attempt("fan-work-103", "zone-b", 52, 63, Outcome.SUCCEEDED, tags=WORK),
    attempt("fan-pack-104", "zone-a", 118, 200, Outcome.SUCCEEDED, tags=PACK, cpu=4_000, memory=8 * GIB, price=882_144),
    attempt("night-dump-201", "zone-c", 300, 17, Outcome.STOPPED, tags=of_workflow("night", "dump"), namespace="batch"),
    attempt("web-7c9", "zone-c", 400, 3_600, Outcome.ENDED),
]


@pytest.fixture
def ledger() -> list[UsageRecord]:
    return list(LEDGER)


@pytest.fixture
def cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ledger: list[UsageRecord]) -> Iterator[None]:
    """A cloud with a ledger, served at the installation's socket from another thread: the command has its own loop."""
    state = tmp_path / "s"
    state.mkdir()
    monkeypatch.setenv("ZONELET_STATE_DIR", str(state))
    with Journal(tmp_path / "journal.sqlite") as journal:
        for one in ledger:
            journal.store_usage(one.uid, one.started_at, one.ended_at, msgspec.json.encode(one))
    serving, begun = threading.Event(), {}

    async def run() -> None:
        end = begun["end"] = asyncio.Event()
        begun["loop"] = asyncio.get_running_loop()
        async with (
            simulated_world(tmp_path) as below,
            local_backend(below, tmp_path, SystemClock()) as backend,
            serve(backend, f"unix:{state}/elastic.sock"),
        ):
            serving.set()
            await end.wait()

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    assert serving.wait(20)
    yield
    begun["loop"].call_soon_threadsafe(begun["end"].set)
    thread.join(20)
    assert not thread.is_alive()


def run(*words: str) -> tuple[str, str]:
    result = CliRunner().invoke(app, ["cost", *words])
    assert result.exit_code == 0, (result.output, result.exception)
    return result.stdout, result.stderr


@pytest.mark.usefixtures("cloud")
def test_every_command_of_the_guide_prints_what_the_guide_says() -> None:
    told = []
    for text in _BLOCK.findall(GUIDE.read_text()):
        command, _, shown = text.removeprefix("$ ").partition("\n")
        words = shlex.split(command)
        assert words[:2] == ["zonelet", "cost"]
        told.append((command, run(*words[2:])[0], shown))
    assert len(told) == 4
    assert [(command, got) for command, got, _ in told] == [(command, shown) for command, _, shown in told]


@pytest.mark.usefixtures("cloud")
@pytest.mark.parametrize("by", By)
def test_rows_add_up_to_the_total_whatever_they_are_cut_by(by: By) -> None:
    document = json.loads(run("--by", by, "-o", "json")[0])
    (total,) = document["totals"]
    for name, value in total.items():
        if isinstance(value, int):
            assert sum(row[name] for row in document["rows"]) == value
    assert total["spent_units"] == sum(one.charge for one in LEDGER)
    assert total["wasted_failed_units"] == LEDGER[1].charge
    assert total["wasted_stopped_units"] == LEDGER[4].charge
    assert total["wasted_units"] == LEDGER[1].charge + LEDGER[4].charge
    assert total["saved_units"] == 0
    assert document == yaml.safe_load(run("--by", by, "-o", "yaml")[0])
    rows = list(csv.DictReader(io.StringIO(run("--by", by, "-o", "csv")[0])))
    assert [int(row["spent_units"]) for row in rows] == [row["spent_units"] for row in document["rows"]]


class TestWithoutPrices:
    """A cloud with the profile `plain`, and one that had prices before."""

    @pytest.fixture
    def ledger(self) -> list[UsageRecord]:
        return [LEDGER[0], attempt("fan-work-301", "zone-a", 5, 7, Outcome.FAILED, tags=WORK, price=None)]

    @pytest.mark.usefixtures("cloud")
    def test_seconds_are_told_and_no_money_is_made_up(self) -> None:
        out, err = run()
        rows = [line.split() for line in out.splitlines()]
        assert rows[1] == [
            "default/fan",
            "1",
            "61",
            "0.034",
            "0.068",
            "0.0075",
            "CNY",
            "0.0000",
            "CNY",
            "0.0000",
            "CNY",
        ]
        assert rows[2] == ["default/fan", "1", "7", "0.004", "0.008", "-", "-", "-"]
        assert [row[0] for row in rows[3:]] == ["total", "total"]
        assert err.startswith("1 of 2 attempts were sold under a profile without prices")
        priced, unpriced = json.loads(run("-o", "json")[0])["rows"]
        assert (priced["spent_units"], unpriced["spent_units"], unpriced["seconds"]) == (61 * 441_072, None, 7)


class TestNothing:
    """A new cloud."""

    @pytest.fixture
    def ledger(self) -> list[UsageRecord]:
        return []

    @pytest.mark.usefixtures("cloud")
    def test_nothing_was_charged(self) -> None:
        assert run() == ("nothing was charged\n", "")
        assert json.loads(run("-o", "json")[0])["rows"] == []
        assert run("-o", "csv")[0] == "workflow\n"


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("90s", TEN - 90),
        ("15m", TEN - 900),
        ("24h", TEN - 86_400),
        ("7d", TEN - 604_800),
        ("2w", TEN - 1_209_600),
        ("2026-11-24T10:00:00Z", TEN),
        ("2026-11-24T11:00:00+01:00", TEN),
        ("2026-11-24 10:00", TEN),
    ],
)
def test_since(text: str, moment: float) -> None:
    assert since_of(text, TEN) == moment


@pytest.mark.parametrize("text", ["yesterday", "1y", "-1h", "24", ""])
def test_what_is_no_moment_is_a_usage_error(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="24h"):
        since_of(text, TEN)
