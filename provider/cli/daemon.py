"""`zonelet run`: the provider daemon in the foreground, until SIGINT or SIGTERM."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from provider.app import Options
    from provider.config.schema import ProviderConfig

CANNOT_BEGIN = 1
BAD_CONFIG = 2
"""Exit code for a configuration that cannot be used."""


def run(
    config: Annotated[Path | None, typer.Option(help="ProviderConfig (YAML); everything has a default.")] = None,
    name: Annotated[str, typer.Option(help="Name of the installation, unless the configuration gives it.")] = "zonelet",
    kubeconfig: Annotated[Path | None, typer.Option(help="Default: $KUBECONFIG, the pod's account, ~/.kube.")] = None,
    backend: Annotated[str, typer.Option(help="Address of an elastic API elsewhere, in place of an own engine.")] = "",
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "info",
) -> None:
    """Run the provider: one virtual node per zone, every pod of theirs as an instance, until SIGINT or SIGTERM."""
    from provider.app import Options
    from provider.cluster.root import require_root
    from provider.config.load import ConfigError
    from provider.observability.logging import configure

    if log_level not in ("debug", "info", "warning", "error"):
        raise typer.BadParameter("debug, info, warning or error", param_hint="--log-level")
    try:
        settings = _settings(config, name)
    except ConfigError as error:
        for mistake in error.mistakes:
            typer.echo(mistake, err=True)
        what = "the command line" if config is None else config
        typer.echo(f"Nothing was started: {what} has {len(error.mistakes)} mistake(s).", err=True)
        raise typer.Exit(BAD_CONFIG) from None
    if not backend and settings.runtime.kind == "docker":
        require_root("run", os.geteuid())
    configure(log_level)  # type: ignore[arg-type]
    state = Path(settings.state_dir or os.environ.get("ZONELET_STATE_DIR") or f"/var/lib/zonelet/{settings.name}")
    options = Options(
        config=settings,
        state=state.absolute(),
        kubeconfig=None if kubeconfig is None else str(kubeconfig),
        backend=backend,
    )
    try:
        asyncio.run(_until_signalled(options))
    except Exception as error:
        why = _why_not(error)
        if why is None:
            raise
        for line in why:
            typer.echo(line, err=True)
        raise typer.Exit(CANNOT_BEGIN) from None


def _settings(config: Path | None, name: str) -> ProviderConfig:
    from provider.config.load import load, parse

    return parse(json.dumps({"name": name})) if config is None else load(config)


async def _until_signalled(options: Options) -> None:
    from provider.app import run_provider

    loop = asyncio.get_running_loop()
    main = asyncio.current_task()
    assert main is not None  # noqa: S101 - asyncio.run made it
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, main.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await run_provider(options)


def _why_not(error: BaseException) -> list[str] | None:
    """Return why the provider cannot begin, a line each; None for a bug."""
    from provider.app import StartError
    from provider.cloud.addresses.free_blocks import AddressClashError
    from provider.cloud.runtime.base import RuntimeFault
    from provider.exclusive import TakenError
    from provider.kube.connection import KubeConfigError
    from provider.model.errors import CloudError
    from provider.rpc.options import AddressError

    if isinstance(error, BaseExceptionGroup):
        told = [_why_not(each) for each in error.exceptions]
        return None if None in told else [line for lines in told for line in lines or ()]
    if isinstance(error, AddressClashError):
        return list(error.mistakes)
    known = StartError | TakenError | KubeConfigError | AddressError | RuntimeFault | CloudError
    return [str(error)] if isinstance(error, known) else None
