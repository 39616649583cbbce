"""Attaching to containers of the real engine: terminals, both outputs, and ends."""

import asyncio
from collections.abc import Callable

import msgspec
import pytest

from provider.cloud.backend import STDERR, STDOUT, AttachRequest, ExecSession
from provider.cloud.runtime.base import RunSpec, SandboxSpec
from provider.cloud.runtime.docker_engine.runtime import DockerRuntime
from provider.model.ids import PodUid

pytestmark = pytest.mark.integration

UID = PodUid("u-1")
Specs = Callable[..., RunSpec]
Sandboxes = Callable[..., SandboxSpec]


def with_input(spec: RunSpec, *, tty: bool = False, once: bool = False) -> RunSpec:
    container = msgspec.structs.replace(spec.container, stdin=True, stdin_once=once, tty=tty)
    return msgspec.structs.replace(spec, container=container)


async def everything(session: ExecSession) -> dict[int, bytes]:
    said = {STDOUT: b"", STDERR: b""}
    async with asyncio.timeout(30):
        async for stream, data in session.output():
            said[stream] += data
    return said


async def test_both_outputs_and_the_end_of_input(runtime: DockerRuntime, sandbox_spec: Sandboxes, shell: Specs) -> None:
    await runtime.create_sandbox(sandbox_spec())
    await runtime.start_container(with_input(shell("cat; echo to-err >&2; echo end; exit 5"), once=True))
    session = await runtime.attach(UID, 0, AttachRequest(container="main", stdin=True))
    big = bytes(range(256)) * 1024
    await session.write(big)
    await session.close_stdin()
    assert await everything(session) == {STDOUT: big + b"end\n", STDERR: b"to-err\n"}
    assert await session.wait() == 0  # the container's own exit code is its status's business
    await session.resize(80, 24)
    await session.close()


async def test_input_stays_open_for_the_next(runtime: DockerRuntime, sandbox_spec: Sandboxes, shell: Specs) -> None:
    await runtime.create_sandbox(sandbox_spec())
    await runtime.start_container(with_input(shell("while read line; do echo heard $line; done; sleep 600")))
    for word in ("one", "two"):
        session = await runtime.attach(UID, 0, AttachRequest(container="main", stdin=True))
        await session.write(f"{word}\n".encode())
        await session.close_stdin()
        async with asyncio.timeout(30):
            assert await anext(aiter(session.output())) == (STDOUT, f"heard {word}\n".encode())
        await session.close()


async def test_a_terminal_has_its_size_and_keeps_its_keys(
    runtime: DockerRuntime, sandbox_spec: Sandboxes, shell: Specs
) -> None:
    await runtime.create_sandbox(sandbox_spec())
    script = "until stty size | grep -q '33 99'; do :; done; echo ready; read x; echo $x | tr -d '\\020\\021' | wc -c"
    await runtime.start_container(with_input(shell(script), tty=True))
    session = await runtime.attach(UID, 0, AttachRequest(container="main", stdin=True, stderr=False, tty=True))
    await session.resize(99, 33)
    output = aiter(session.output())
    said = b""
    async with asyncio.timeout(30):
        while b"ready" not in said:
            said += (await anext(output))[1]
        await session.write(b"a\x10\x11b\n")  # ctrl-p ctrl-q is what Docker takes for "detach" where it is not told
        async for _, data in output:
            said += data
        assert await session.wait() == 0
    assert said.split()[-1] == b"3"
    await session.resize(10, 10)  # it has ended
    await session.close()
