"""Where an installation's elastic API is, and how a command asks it one thing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from provider.cluster.steps import SetupError
from provider.config.load import load
from provider.model.errors import CloudCode, CloudError
from provider.rpc.client import RemoteBackend
from provider.rpc.options import AddressError, TlsFiles

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from provider.cluster.installation import Installation

__all__ = ["ask", "asked"]

T = TypeVar("T")

SECONDS = 10.0
"""of a call until it has failed."""


async def ask(
    installation: Installation,
    backend: str,
    question: Callable[[RemoteBackend], Awaitable[T]],
    seconds: float = SECONDS,
) -> T:
    """Return the answer of the API at `backend`, empty: the installation's own. ConfigError, CloudError."""
    path = installation.provider_config
    config = load(path) if path.exists() else None
    files = None if config is None else config.grpc_tls
    tls = (
        None
        if files is None
        else TlsFiles(Path(files.certificate_file), Path(files.key_file), Path(files.authority_file))
    )
    own = "" if config is None else config.grpc_listen
    address = backend or own or f"unix:{installation.state / 'elastic.sock'}"
    async with RemoteBackend(address, tls=tls, seconds=seconds) as cloud:
        return await question(cloud)


async def asked(installation: Installation, backend: str, question: Callable[[RemoteBackend], Awaitable[T]]) -> T:
    """Do as `ask`, for a command: SetupError with the cloud's own words, and what to do about it."""
    try:
        return await ask(installation, backend, question)
    except AddressError as error:
        raise SetupError("that is no address of the elastic API", str(error), "give --backend host:port") from error
    except CloudError as error:
        if error.code is CloudCode.UNAVAILABLE:
            advice = f"see: zonelet status --name {installation.name}"
            raise SetupError("the cloud does not answer", error.message, advice) from error
        raise SetupError(
            f"the cloud refuses: {error.code}", error.message, "see: zonelet zones, zonelet stock"
        ) from error
