"""Termination messages, by the kubelet's rule."""

from collections.abc import Awaitable, Callable

import pytest

from provider.cloud.runtime.base import RunSpec, SandboxSpec, SeenContainer
from provider.cloud.runtime.docker_engine.runtime import DockerRuntime
from provider.model.ids import PodUid
from provider.model.request import SecurityContext

pytestmark = pytest.mark.integration

Specs = Callable[..., RunSpec]
Sandboxes = Callable[..., SandboxSpec]
Ended = Callable[..., Awaitable[SeenContainer]]


async def test_messages(runtime: DockerRuntime, sandbox_spec: Sandboxes, shell: Specs, ended: Ended) -> None:
    await runtime.create_sandbox(sandbox_spec())
    cases = {
        "file": (shell("echo -n said > /dev/termination-log; echo log; exit 1", name="file"), "said"),
        "path": (shell("echo -n there > /tmp/m; exit 0", name="path", termination_path="/tmp/m"), "there"),
        "long": (shell("head -c 9000 /dev/zero | tr '\\0' x > /dev/termination-log", name="long"), "x" * 4096),
        "end": (
            shell("(head -c 5000 /dev/zero | tr '\\0' x; echo -n end) > /dev/termination-log", name="end"),
            "x" * 4093 + "end",
        ),
        "none": (shell("echo log; exit 1", name="none"), ""),
        "log": (shell("echo log; exit 1", name="log", termination_fallback_to_logs=True), "log\n"),
        "good": (shell("echo log; exit 0", name="good", termination_fallback_to_logs=True), ""),
        "lines": (
            shell("for i in $(seq 200); do echo $i; done; exit 1", name="lines", termination_fallback_to_logs=True),
            "".join(f"{number}\n" for number in range(121, 201)),
        ),
        "bytes": (
            shell("head -c 3000 /dev/zero | tr '\\0' y; exit 1", name="bytes", termination_fallback_to_logs=True),
            "y" * 2048,
        ),
        "user": (
            shell("echo -n me > /dev/termination-log", name="user", security=SecurityContext(user=1234)),
            "me",
        ),
    }
    for spec, _ in cases.values():
        await runtime.start_container(spec)
    for name, (_, expected) in cases.items():
        assert (await ended(name)).message == expected, name


async def test_each_attempt_has_its_own(
    runtime: DockerRuntime, sandbox_spec: Sandboxes, shell: Specs, ended: Ended
) -> None:
    await runtime.create_sandbox(sandbox_spec())
    for attempt in (0, 1):
        await runtime.start_container(shell(f"echo -n {attempt} > /dev/termination-log", attempt=attempt))
        assert (await ended(attempt=attempt)).message == str(attempt)
    await runtime.remove_container(PodUid("u-1"), "main", 0)
    seen = await runtime.inspect(PodUid("u-1"))
    assert seen is not None
    assert [(one.attempt, one.message) for one in seen.containers] == [(1, "1")]
