from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from provider.clock import SystemClock
from provider.cluster.installation import Installation, Record
from provider.cluster.local_up import up_local
from provider.cluster.steps import SetupError, Steps
from provider.cluster.undo import undoing, undoing_up

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

NAME = "updown-unit"


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No engine, no cluster, a cache of its own."""
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no-engine.sock")
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    monkeypatch.setenv("ZONELET_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    return Installation(NAME, tmp_path / "state", SystemClock())


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), soft_wrap=True)


def told(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


async def failing(
    context: AbstractAsyncContextManager[None], error: BaseException, make: Callable[[], object] = lambda: None
) -> None:
    async with context:
        make()
        raise error


async def test_an_engine_that_is_not_there_is_what_up_tells(
    installation: Installation, console: Console, tmp_path: Path
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(f"runtime: {{docker: {{host: 'unix://{tmp_path}/other.sock'}}}}\n")
    with pytest.raises(SetupError) as failed:
        await up_local(installation, Steps(console), config=config)
    assert failed.value.what == f"no Docker engine answers at unix://{tmp_path}/other.sock"
    assert "the configuration names it" in failed.value.why
    assert not installation.state.exists()
    assert "Not undone" not in told(console)  # nothing was made: no engine has to be asked to undo it


async def test_what_cannot_be_undone_is_told_and_the_cause_passes_on(
    installation: Installation, console: Console
) -> None:
    with pytest.raises(SetupError, match="the network cannot be made"):
        await failing(
            undoing_up(installation, Steps(console)),
            SetupError("the network cannot be made", "it is another's", "take another name"),
            lambda: installation.write_record(Record("local")),
        )
    assert f"Not undone: containers and networks of {NAME} may be left" in told(console)
    assert f"zonelet down --name {NAME}" in told(console)
    assert installation.record() == Record("local")  # so that `down` can do the rest


@pytest.mark.parametrize(
    "left", [SetupError("a mount is left", "it is busy", "run down again"), OSError(16, "a mount is left: it is busy")]
)
async def test_no_error_of_the_undoing_replaces_the_cause(
    installation: Installation, console: Console, left: Exception
) -> None:
    async def undo() -> None:
        raise left

    with pytest.raises(KeyboardInterrupt):
        await failing(undoing(installation, Steps(console), undo), KeyboardInterrupt())
    for text in ("a mount is left", "it is busy", "down"):
        assert text in told(console)


async def test_the_advice_names_the_logs_that_are_kept(
    installation: Installation, console: Console, tmp_path: Path
) -> None:
    log = installation.provider.log

    async def undo() -> None:
        installation.remove_files()

    def start() -> None:
        log.parent.mkdir(parents=True)
        log.write_text("no disk left\n")

    ended = SetupError("the provider ended while starting", "no disk left", f"read {log}")
    with pytest.raises(SetupError) as failed:
        await failing(undoing(installation, Steps(console), undo), ended, start)
    kept = tmp_path / "cache" / "logs" / f"up-{NAME}" / "provider.log"
    assert failed.value.next_step == f"read {kept}"
    assert kept.read_text() == "no disk left\n"
    assert not installation.state.exists()


async def test_logs_that_cannot_be_kept_keep_nothing_from_being_undone(
    installation: Installation, console: Console, tmp_path: Path
) -> None:
    installation.provider.directory.mkdir(parents=True)
    installation.provider.log.touch()
    (tmp_path / "cache").touch()  # no directory

    async def undo() -> None:
        installation.remove_files()

    with pytest.raises(KeyboardInterrupt):
        await failing(undoing(installation, Steps(console), undo), KeyboardInterrupt())
    assert "NotADirectoryError" in told(console)
    assert not installation.state.exists()


async def test_processes_that_ran_before_go_on(installation: Installation, console: Console) -> None:
    installation.write_record(Record("local"))
    etcd = installation.local._process("etcd")
    etcd.start(["sleep", "60"])
    try:
        with pytest.raises(SetupError, match="no image"):
            await failing(
                undoing_up(installation, Steps(console)),
                SetupError("no image", "no mirror", "try again"),
                lambda: installation.provider.start(["sleep", "60"]),
            )
        assert installation.provider.pid() is None
        assert etcd.pid() is not None
        assert installation.record() is not None
    finally:
        await etcd.stop(installation.clock)
