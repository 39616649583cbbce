"""Running one lifecycle hook, as the kubelet's handler runner does (pkg/kubelet/lifecycle/handlers.go).

A hook has no time limit of its own: a command ends with its container at the latest, and the machine waits for a
preStop hook no longer than the grace. An HTTP hook fails only if there is no answer; which answer does not matter.
"""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from provider.cloud.instances.commands import run_command
from provider.cloud.instances.events import HookKind
from provider.cloud.instances.http_get import AGENT_HOOK, PLAIN_ANSWER, GetError, http_get, url_of
from provider.cloud.instances.wording import pod_text
from provider.cloud.runtime.base import RuntimeFault
from provider.model.instance import Notice
from provider.model.probe import BrokenAction, ExecAction, HttpAction, SleepAction, TcpAction

if TYPE_CHECKING:
    from collections.abc import Callable

    from provider.clock import Clock
    from provider.cloud.instances.instructions import RunHook
    from provider.cloud.runtime.base import ContainerRuntime
    from provider.model.request import InstanceRequest


async def run_hook(
    runtime: ContainerRuntime,
    clock: Clock,
    request: InstanceRequest,
    address: str,
    wanted: RunHook,
    tell: Callable[[Notice], None],
) -> str:
    """Run a hook to its end; return how it failed, empty if it did not. `tell` takes what is worth an event."""
    spec = next(one for one in request.containers if one.name == wanted.container)
    where = f'for Container "{spec.name}" in Pod "{pod_text(request)}" failed - error:'
    try:
        match spec.post_start if wanted.kind is HookKind.POST_START else spec.pre_stop:
            case ExecAction(command):
                return await _exec(runtime, request, wanted, command, where)
            case HttpAction() as action:
                return await _http(runtime, clock, request, action, address, where, tell)
            case SleepAction(seconds):
                await clock.sleep(seconds)
                return ""
            case TcpAction(port, host):
                handler = f"TCPSocket:&TCPSocketAction{{Port:{{0 {port} }},Host:{host},}}"
                return (
                    "Cannot run handler: invalid handler: "
                    f"&LifecycleHandler{{Exec:nil,HTTPGet:nil,{handler},Sleep:nil,}}"
                )
            case BrokenAction(error):
                return f"{wanted.kind} lifecycle hook {where} {error}"
            case None:
                raise KeyError(f"container {spec.name} has no {wanted.kind} hook")
    except RuntimeFault as fault:
        return f"{wanted.kind} lifecycle hook {where} {fault.message}"


async def _exec(
    runtime: ContainerRuntime, request: InstanceRequest, wanted: RunHook, command: tuple[str, ...], where: str
) -> str:
    end = await run_command(runtime, request.uid, wanted.container, wanted.attempt, command)
    if not end.code:
        return ""
    words = " ".join(command)
    error = f"command '{words}' exited with {end.code}: {end.errors}"
    return f"Exec lifecycle hook ([{words}]) {where} {error}, message: {json.dumps(end.output, ensure_ascii=False)}"


async def _http(
    runtime: ContainerRuntime,
    clock: Clock,
    request: InstanceRequest,
    action: HttpAction,
    address: str,
    where: str,
    tell: Callable[[Notice], None],
) -> str:
    dial = partial(runtime.connect, request.zone)
    try:
        url = url_of(action, address)
        try:
            await http_get(dial, url, action, AGENT_HOOK, None)
        except GetError as error:
            if not str(error).endswith(PLAIN_ANSWER):
                raise
            await _over_plain_http(runtime, clock, request, action, address, tell, error)
    except (GetError, ValueError) as error:
        return f"HTTP lifecycle hook ({action.path}) {where} {error}"
    return ""


async def _over_plain_http(
    runtime: ContainerRuntime,
    clock: Clock,
    request: InstanceRequest,
    action: HttpAction,
    address: str,
    tell: Callable[[Notice], None],
    refused: GetError,
) -> None:
    """Ask once more without TLS and without a password; if that fails as well, it is the first failure that counts."""
    url = url_of(action, address, "http")
    headers = tuple(one for one in action.headers if one[0].lower() != "authorization")
    plain = msgspec.structs.replace(action, headers=headers)
    try:
        await http_get(partial(runtime.connect, request.zone), url, plain, AGENT_HOOK, None)
    except GetError:
        raise refused from None
    text = (
        f"request to HTTPS lifecycle hook {action.host or address}:{action.port} got HTTP response, "
        "retry with HTTP succeeded"
    )
    tell(Notice(uid=request.uid, reason="LifecycleHTTPFallback", message=text, warning=True, at=clock.now()))
