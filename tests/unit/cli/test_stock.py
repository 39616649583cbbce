"""`zonelet zones` and `zonelet stock` against a cloud in this process."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import threading
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest
from typer.testing import CliRunner

from provider.cli.main import app
from provider.clock import SystemClock
from provider.cluster.steps import SetupError
from provider.rpc.server import serve
from tests.support.cloud_worlds import local_backend, simulated_world

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provider.cloud.admin import CloudAdmin


GUIDE = Path(__file__).parents[3] / "docs" / "guides" / "stock.md"


@pytest.fixture
def cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A cloud that is served at the installation's socket, from another thread: the command has a loop of its own."""
    state = tmp_path / "s"
    state.mkdir()
    monkeypatch.setenv("ZONELET_STATE_DIR", str(state))
    serving, begun = threading.Event(), {}

    async def run() -> None:
        end = begun["end"] = asyncio.Event()
        begun["loop"] = asyncio.get_running_loop()
        async with (
            simulated_world(tmp_path) as below,
            local_backend(below, tmp_path, SystemClock()) as backend,
            serve(backend, f"unix:{state}/elastic.sock", admin=cast("CloudAdmin", backend)),
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


def rows(*words: str) -> list[dict[str, object]]:
    result = CliRunner().invoke(app, [*words, "-o", "json"])
    assert result.exit_code == 0, (result.output, result.exception)
    found: list[dict[str, object]] = json.loads(result.stdout)
    return found


@pytest.mark.usefixtures("cloud")
def test_stock_is_shown_set_closed_opened_and_reset() -> None:
    (before,) = rows("stock")
    assert (before["zone"], before["stock"], before["set_by"]) == ("zone-a", "WithStock", "configuration")
    (held,) = rows("stock", "set", "zone-a", "--cpu", "500m", "--memory", "1Gi", "--instances", "3")
    assert (held["cpu"], held["memory"], held["instances"]) == ("0/500m", "0/1Gi", "0/3")
    assert held["set_by"] == "operator"
    assert rows("stock", "close", "zone-a")[0]["stock"] == "ClosedWithStock"
    assert rows("zones")[0]["stock"] == "ClosedWithStock"
    assert rows("stock", "open", "zone-a")[0]["stock"] == "WithStock"
    assert rows("stock", "reset", "zone-a") == [before]


@pytest.mark.usefixtures("cloud")
def test_a_table_is_for_people() -> None:
    result = CliRunner().invoke(app, ["stock", "-o", "wide"])
    assert "SPOT_STOCK" in result.stdout
    assert "SPOT_STOCK" not in CliRunner().invoke(app, ["stock"]).stdout


@pytest.mark.usefixtures("cloud")
@pytest.mark.parametrize("words", [["set", "nowhere", "--cpu", "1"], ["reset", "nowhere"]])
def test_the_clouds_refusal_is_told_in_its_own_words(words: list[str]) -> None:
    result = CliRunner().invoke(app, ["stock", *words])
    assert isinstance(result.exception, SetupError)
    assert "Zone.NotOnSale" in str(result.exception)


@pytest.mark.parametrize("words", [["set", "zone-a"], ["set", "zone-a", "--cpu", "many"]])
def test_what_makes_no_sense_is_a_usage_error(words: list[str]) -> None:
    assert CliRunner().invoke(app, ["stock", *words]).exit_code == 2


def test_without_a_provider_it_is_said_what_to_look_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZONELET_STATE_DIR", str(tmp_path))
    result = CliRunner().invoke(app, ["zones"])
    assert isinstance(result.exception, SetupError)
    assert "zonelet status" in result.exception.next_step


@pytest.mark.usefixtures("cloud")
def test_every_command_of_the_guide_runs() -> None:
    blocks = re.findall(r"^```\n(.*?)^```", GUIDE.read_text(), re.MULTILINE | re.DOTALL)
    commands = [line for block in blocks for line in block.splitlines()]
    assert len(commands) >= 10
    for command in commands:
        program, *words = shlex.split(command)
        assert program == "zonelet"
        result = CliRunner().invoke(app, words)
        assert result.exit_code == 0, (command, result.output)
        assert "zone-a" in result.stdout
    (row,) = rows("stock")
    assert row["set_by"] == "configuration"
