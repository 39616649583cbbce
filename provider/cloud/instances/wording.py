"""What the kubelet says about a pod's containers, word for word. Pure.

From Kubernetes v1.37, pkg/kubelet: events, kuberuntime, images, prober; each function names its source.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from provider.cloud.instances.events import Outcome
from provider.cloud.instances.instructions import Tell

if TYPE_CHECKING:
    from provider.cloud.instances.events import HookKind, Probed
    from provider.model.request import InstanceRequest

UNKNOWN_REASON = "ContainerStatusUnknown"
NOT_LOCATED = "The container could not be located when the pod was terminated"
"""status_manager.go TerminatePod, kubelet_pods.go convertContainerStatus."""
CRASH_LOOP = "CrashLoopBackOff"
PULL_BACKOFF = "ImagePullBackOff"
POST_START_ERROR = "PostStartHookError"
"""kuberuntime_container.go ErrPostStartHook."""
DEADLINE = Tell("DeadlineExceeded", "Pod was active on the node longer than the specified deadline")
SANDBOX_CHANGED = Tell("SandboxChanged", "Pod sandbox changed, it will be killed and re-created.")
CREATED, STARTED = "Container created", "Container started"


def pod_text(request: InstanceRequest) -> str:
    """Return the pod as the kubelet names it in messages (util/format PodDesc)."""
    return f"{request.name}_{request.namespace}({request.uid})"


def go_duration(seconds: float) -> str:
    """Return whole seconds, or milliseconds, as Go prints a time.Duration: `10s`, `1m20s`, `1h0m0s`, `1.5s`, `20ms`."""
    millis = round(seconds * 1000)
    if millis == 0:
        return "0s"
    if millis < 1000:  # noqa: PLR2004 - below a second Go changes the unit
        return f"{millis}ms"
    whole, rest = divmod(millis, 1000)
    fraction = f".{rest:03d}".rstrip("0") if rest else ""
    minutes, second = divmod(whole, 60)
    hours, minute = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minute}m{second}{fraction}s"
    return f"{minute}m{second}{fraction}s" if minute else f"{second}{fraction}s"


def crash_backoff(container: str, pod: str, seconds: float) -> str:
    """Return the waiting message of CrashLoopBackOff (kuberuntime_manager.go doBackOff)."""
    return f"back-off {go_duration(seconds)} restarting failed container={container} pod={pod}"


def tell_crash_backoff(container: str, pod: str) -> Tell:
    """Return the event of the same."""
    return Tell("BackOff", f"Back-off restarting failed container {container} in pod {pod}", container, warning=True)


def pull_backoff(image: str) -> str:
    """Return the event's text and the head of the waiting message of ImagePullBackOff (image_manager.go pullImage)."""
    return f'Back-off pulling image "{image}"'


def tell_error(container: str, text: str) -> Tell:
    """Return the event of a container that could not be made or started (kuberuntime_container.go startContainer)."""
    return Tell("Failed", f"Error: {text}", container, warning=True)


def tell_killing(container: str, text: str = "") -> Tell:
    """Return the event of a stop (kuberuntime_container.go killContainer); `text` is why, if it is no ordinary one."""
    return Tell("Killing", text or f"Stopping container {container}", container)


def tell_hook_failed(container: str, kind: HookKind) -> Tell:
    """Return the event of a hook that failed; how it failed may hold secrets, so it is not told (startContainer)."""
    return Tell(f"Failed{kind}Hook", f"{kind}Hook failed", container, warning=True)


def probe_kill(container: str, kind: str, *, init: bool, restart: bool) -> str:
    """Return the text of a kill by a probe (computePodActions; a sidecar has another text)."""
    if init:
        return f"Init container {container} failed {kind} probe"
    suffix = ", will be restarted" if restart else ""
    return f"Container {container} failed {kind} probe{suffix}"


def tell_probed(result: Probed) -> Tell | None:
    """Return the event of a probe that went wrong, or went well with a warning (prober.go probe); None: nothing."""
    kind, name, text = result.kind, result.container, result.message
    match result.outcome:
        case Outcome.SUCCESS:
            return None
        case Outcome.WARNING:
            return Tell("ProbeWarning", f"{kind} probe warning: {text}", name, warning=True)
        case Outcome.FAILURE:
            return Tell("Unhealthy", f"{kind} probe failed: {text}", name, warning=True)
        case Outcome.ERRORED:
            return Tell("Unhealthy", f"{kind} {text}", name, warning=True)
