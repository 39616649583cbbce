"""Upstream's own commands, `kubectl` and `argo`, against an installation of a test; and what to say when one fails."""

from __future__ import annotations

import asyncio
import os
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from provider.cluster.build_command import tail
from provider.cluster.manifests import wait_for
from provider.cluster.trouble import pods_of

if TYPE_CHECKING:
    from pathlib import Path

    from provider.kube.client import Json, KubeApi
    from tests.support.installation import Lab

NAMESPACE = "default"
WORKFLOWS = f"/apis/argoproj.io/v1alpha1/namespaces/{NAMESPACE}/workflows"
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"
FINISHED = ("Succeeded", "Failed", "Error")
_COMMAND_SECONDS = 60.0
_QUIET_SECONDS = 3.0


class CommandError(AssertionError):
    """A command ended with another exit code than it had to."""


@dataclass(frozen=True)
class Done:
    """What a command gave back."""

    code: int
    out: bytes
    err: str

    @property
    def text(self) -> str:
        """Its output without the last newline."""
        return self.out.decode().rstrip("\n")


@dataclass(frozen=True)
class Terminal:
    """Runs upstream's programs as the administrator of the lab's cluster, in the namespace of the tests."""

    lab: Lab

    @property
    def examples(self) -> Path:
        """The directory of upstream's example workflows, as its Go module has them."""
        return self.lab.running.binaries.argo_module / "examples"

    async def start(
        self, program: str, *arguments: str, stdin: int | None = asyncio.subprocess.DEVNULL, **environment: str
    ) -> asyncio.subprocess.Process:
        """Start a command and leave its streams to the caller."""
        binaries = self.lab.running.binaries
        path = {"kubectl": binaries.kubectl, "argo": binaries.argo}[program]
        pipe = asyncio.subprocess.PIPE
        return await asyncio.create_subprocess_exec(
            str(path), "--namespace", NAMESPACE, *arguments, stdin=stdin, stdout=pipe, stderr=pipe,
            env={**os.environ, "KUBECONFIG": str(self.lab.kubeconfig), **environment},
        )  # fmt: skip

    async def run(
        self,
        program: str,
        *arguments: str,
        stdin: bytes | None = None,
        code: int | None = 0,
        seconds: float = _COMMAND_SECONDS,
        **environment: str,
    ) -> Done:
        """Run a command to its end; CommandError unless its exit code is `code` (None: any)."""
        pipe = asyncio.subprocess.DEVNULL if stdin is None else asyncio.subprocess.PIPE
        process = await self.start(program, *arguments, stdin=pipe, **environment)
        try:
            async with asyncio.timeout(seconds):
                out, err = await process.communicate(stdin)
        finally:
            await ended(process)
        assert process.returncode is not None
        done = Done(process.returncode, out, err.decode(errors="replace"))
        if code not in (None, done.code):
            raise CommandError(
                f"{program} {' '.join(arguments)}: exit code {done.code}, not {code}\n{out!r}\n{done.err}"
            )
        return done

    async def kubectl(self, *arguments: str, stdin: bytes | None = None, code: int | None = 0) -> Done:
        """Run kubectl."""
        return await self.run("kubectl", *arguments, stdin=stdin, code=code)

    async def argo(self, *arguments: str, code: int | None = 0) -> Done:
        """Run argo."""
        return await self.run("argo", *arguments, code=code)

    async def submit(self, example: str) -> str:
        """Submit one of upstream's files as it is; return the workflow's name."""
        done = await self.argo("submit", "-o", "name", str(self.examples / example))
        return done.text.rpartition("/")[2]


async def ended(process: asyncio.subprocess.Process) -> None:
    """Kill the process if it still runs, and reap it."""
    if process.returncode is None:
        process.kill()
        await process.communicate()


async def finished(api: KubeApi, lab: Lab, name: str, seconds: float) -> Json:
    """Return the workflow when it has ended; TimeoutError after `seconds`."""

    def over(workflow: Json) -> bool:
        return (workflow.get("status") or {}).get("phase") in FINISHED

    return await wait_for(api, f"{WORKFLOWS}/{name}", over, clock=lab.installation.clock, seconds=seconds)


async def node_running(api: KubeApi, terminal: Terminal, name: str, display_name: str, seconds: float = 120.0) -> None:
    """Wait until a node of the workflow is Running; TimeoutError after `seconds`."""

    def runs(workflow: Json) -> bool:
        nodes = (workflow.get("status") or {}).get("nodes") or {}
        return any(each["displayName"] == display_name and each.get("phase") == "Running" for each in nodes.values())

    clock = terminal.lab.installation.clock
    await wait_for(api, f"{WORKFLOWS}/{name}", runs, clock=clock, seconds=seconds)


async def waits_at(api: KubeApi, terminal: Terminal, name: str, display_name: str) -> None:
    """Wait until a suspended node is Running and the controller has left the workflow alone for a while.

    Argo's controller loses a resume that falls into its own update of the workflow: it applies its update once more on
    top, and does not look at the workflow again. A person is never that quick.
    """
    await node_running(api, terminal, name, display_name)
    seen = ""
    async with asyncio.timeout(60):
        while (version := str((await api.get(f"{WORKFLOWS}/{name}"))["metadata"]["resourceVersion"])) != seen:
            seen = version
            await terminal.lab.installation.clock.sleep(_QUIET_SECONDS)


async def first_labelled(api: KubeApi, selector: str, seconds: float) -> Json:
    """Return the first workflow with the label; TimeoutError after `seconds`."""
    query = {"labelSelector": selector}
    async with asyncio.timeout(seconds):
        listed = await api.list(WORKFLOWS, query)
        found: list[Json] = listed["items"]
        if found:
            return found[0]
        query["resourceVersion"] = listed["metadata"]["resourceVersion"]
        async with aclosing(api.watch(WORKFLOWS, query, seconds)) as events:
            async for event in events:
                return event["object"]  # type: ignore[no-any-return]
    raise TimeoutError(f"the watch for {selector} ended")


async def pods_of_workflow(api: KubeApi, name: str) -> list[Json]:
    """Return the pods of a workflow."""
    listed = await api.list(PODS, {"labelSelector": f"workflows.argoproj.io/workflow={name}"})
    pods: list[Json] = listed["items"]
    return pods


async def story(api: KubeApi, lab: Lab, name: str = "") -> str:
    """Return what happened, for a reader of a failed test: the workflow, the pods, the provider's last log lines."""
    lines: list[str] = []
    if name:
        workflow = await api.get(f"{WORKFLOWS}/{name}")
        status = workflow.get("status") or {}
        lines.append(f"workflow {name}: {status.get('phase')} {status.get('message', '')}")
        for node in (status.get("nodes") or {}).values():
            where = node.get("hostNodeName", "")
            message = node.get("message", "")
            lines.append(f"  {node['type']} {node['displayName']}: {node.get('phase')} {where} {message}".rstrip())
    selector = f"workflows.argoproj.io/workflow={name}" if name else ""
    lines += ["-- pods and events", await pods_of(api, NAMESPACE, selector)]
    lines += ["-- provider's log", tail(lab.installation.provider.log)]
    return "\n".join(lines)
