"""Running a command in a container to its end, for probes and hooks. Nothing of it is left behind.

Both outputs come together; the kubelet keeps at most 10 KiB of them (pkg/probe/exec maxReadLength).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from msgspec import Struct

from provider.cloud.backend import STDERR, ExecRequest

if TYPE_CHECKING:
    from provider.cloud.runtime.base import ContainerRuntime
    from provider.model.ids import PodUid

OUTPUT_LIMIT = 10 * 1024


class CommandEnd(Struct, frozen=True):
    """How a command ended; `code` None: it had to be killed when its time was over. `output` is both outputs."""

    code: int | None
    output: str
    errors: str = ""
    """what it wrote to stderr"""


async def run_command(
    runtime: ContainerRuntime,
    uid: PodUid,
    container: str,
    attempt: int,
    command: tuple[str, ...],
    seconds: float | None = None,
) -> CommandEnd:
    """Run a command; after `seconds`, or when cancelled, it is killed. RuntimeFault if it cannot be started."""
    session = await runtime.exec(uid, attempt, ExecRequest(container=container, command=command))
    output, errors = bytearray(), bytearray()
    code = None
    try:
        async with asyncio.timeout(seconds):
            async for stream, piece in session.output():
                output += piece[: OUTPUT_LIMIT - len(output)]
                if stream == STDERR:
                    errors += piece[: OUTPUT_LIMIT - len(errors)]
            code = await session.wait()
    except TimeoutError:
        pass  # told by the missing code
    finally:
        await session.close()
    return CommandEnd(code, output.decode(errors="replace"), errors.decode(errors="replace"))
