"""Installs stock Argo Workflows in the local cluster, from the manifests that its pinned module carries.

deploy/local/argo-install is a kustomization over upstream's `cluster-install`; nothing of upstream's is changed, what
differs is configuration (image tags, the controller's ConfigMap, the server's arguments, roles for workflow pods).
`kubectl kustomize` renders it, server-side apply puts it there; both may be repeated.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from provider.cluster.build import ARGO, local_sources, pinned_version
from provider.cluster.build_command import capture
from provider.cluster.image_catalog import entrypoints
from provider.cluster.manifests import Manifests, documents, is_available, is_established, wait_for
from provider.cluster.steps import SetupError
from provider.cluster.trouble import pods_of
from provider.kube.client import KubeError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from provider.clock import Clock
    from provider.cluster.build import Binaries
    from provider.kube.client import Json, KubeApi

__all__ = [
    "DEPLOYMENTS",
    "NAMESPACE",
    "VIRTUAL_NODES_LABEL",
    "apply_argo",
    "install_argo",
    "render_argo",
    "render_spread",
    "render_tolerations",
]

NAMESPACE = "argo"
DEPLOYMENTS = ("workflow-controller", "argo-server")
WORKFLOW_NAMESPACES = (NAMESPACE, "default")
VIRTUAL_NODES_LABEL = {"zonelet.dev/virtual-nodes": "enabled"}
"""What deploy/kustomize/tolerations looks for on a namespace."""

_POLICY = "zonelet-virtual-nodes"
_CONFIG_MAP = "workflow-controller-configmap"
_RENDER_SECONDS = 60.0
_AVAILABLE_SECONDS = 180.0
_ESTABLISHED_SECONDS = 30.0
_IN_FORCE_SECONDS = 30.0
_PROBE_SECONDS = 0.3


def render_argo(binaries: Binaries) -> list[Json]:
    """Return the objects of the installation, in the order in which they can be applied."""
    with tempfile.TemporaryDirectory(prefix="zonelet-argo-") as scratch:
        overlay = Path(scratch) / "argo-install"
        shutil.copytree(local_sources() / "argo-install", overlay)
        (overlay / "upstream").symlink_to(binaries.argo_module / "manifests", target_is_directory=True)
        file = overlay / "kustomization.yaml"
        file.write_text(file.read_text().replace("{argo}", pinned_version(ARGO)))
        (overlay / "images.yaml").write_text(yaml.safe_dump(controller_images(entrypoints())))
        # Upstream renders its own manifests with the same option: single files of other directories are resources.
        return documents(_kustomize(binaries, overlay, "--load-restrictor=LoadRestrictionsNone"))


def controller_images(commands: Mapping[str, Mapping[str, Sequence[str]]]) -> Json:
    """Return the patch of the controller's ConfigMap that says what images run, so that no registry is asked."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": _CONFIG_MAP, "namespace": NAMESPACE},
        "data": {"images": yaml.safe_dump({name: dict(each) for name, each in commands.items()}, sort_keys=True)},
    }


def render_tolerations(taint_key: str, installation: str = "") -> list[Json]:
    """Return the MutatingAdmissionPolicy that lets the pods of labelled namespaces past the taint `taint_key`.

    With `installation` policy and binding bear its name, for a cluster where there may be others.
    """
    text = (local_sources().parent / "kustomize" / "tolerations" / "policy.yaml").read_text(encoding="utf-8")
    name = f"{_POLICY}-{installation}" if installation else _POLICY
    return documents(text.replace("virtual-kubelet.io/provider", taint_key).replace(_POLICY, name))


def render_spread() -> list[Json]:
    """Return the MutatingAdmissionPolicy that spreads a workflow's pods over the zones, in labelled namespaces."""
    return documents((local_sources().parent / "kustomize" / "spread" / "policy.yaml").read_text(encoding="utf-8"))


async def install_argo(
    api: KubeApi,
    binaries: Binaries,
    clock: Clock,
    report: Callable[[str], None],
    *,
    taint_key: str = "",
    seconds: float = _AVAILABLE_SECONDS,
) -> None:
    """Apply Argo and wait until its Deployments are available; with `taint_key` its pods tolerate that taint.

    SetupError when they do not become available: it says what their pods wait for.
    """
    await apply_argo(api, binaries, clock, taint_key=taint_key)
    for name in DEPLOYMENTS:
        report(f"waiting for {name}")
        path = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{name}"
        try:
            await wait_for(api, path, is_available, clock=clock, seconds=seconds)
        except TimeoutError:
            raise SetupError(
                f"{name} is not available after {seconds:.0f} s",
                await pods_of(api, NAMESPACE, f"app={name}"),
                "zonelet status tells where the logs are; then run: zonelet up",
            ) from None


async def apply_argo(api: KubeApi, binaries: Binaries, clock: Clock, *, taint_key: str = "") -> None:
    """Apply Argo's objects, after the policies for pods of virtual nodes, and wait until its kinds are served."""
    manifests = Manifests(api)
    tolerating = render_tolerations(taint_key) if taint_key else []
    await manifests.apply([*map(_chosen_namespace, WORKFLOW_NAMESPACES), *render_spread(), *tolerating])
    await _in_force(api, clock, taint_key)
    # Its Namespace would take the label away again.
    objects = [each for each in render_argo(binaries) if each["kind"] != "Namespace"]
    await manifests.apply(objects)
    for each in objects:
        if each["kind"] == "CustomResourceDefinition":
            path = await manifests.path(each)
            await wait_for(api, path, is_established, clock=clock, seconds=_ESTABLISHED_SECONDS)


def _chosen_namespace(name: str) -> Json:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": VIRTUAL_NODES_LABEL}}


async def _in_force(api: KubeApi, clock: Clock, taint_key: str) -> None:
    """Wait until the API server acts on the policies (it learns of them by a watch): a pod made now would miss them.

    Asked by dry run. Refusals count as "not yet": the namespace's service account is made by a controller too.
    """
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "zonelet-policy-probe", "labels": {"workflows.argoproj.io/workflow": "probe"}},
        "spec": {"containers": [{"name": "probe", "image": "probe"}]},
    }
    refused = ""
    try:
        async with asyncio.timeout(_IN_FORCE_SECONDS):
            while True:
                try:
                    made = await api.create(f"/api/v1/namespaces/{NAMESPACE}/pods?dryRun=All", pod)
                    keys = [each.get("key") for each in made["spec"].get("tolerations") or ()]
                    if made["spec"].get("topologySpreadConstraints") and (not taint_key or taint_key in keys):
                        return
                except KubeError as error:
                    refused = str(error)
                await clock.sleep(_PROBE_SECONDS)
    except TimeoutError:
        raise SetupError(
            f"the policies for pods of virtual nodes are not in force after {_IN_FORCE_SECONDS:.0f} s",
            refused or f"a new pod in {NAMESPACE} is as it was sent, and does not tolerate {taint_key or 'anything'}",
            "kubectl get mutatingadmissionpolicies,mutatingadmissionpolicybindings shows what is there",
        ) from None


def _kustomize(binaries: Binaries, directory: Path, *options: str) -> str:
    return capture(
        [str(binaries.kubectl), "kustomize", *options, str(directory)],
        what=f"rendering {directory.name}",
        timeout=_RENDER_SECONDS,
        next_step="is the file there and unchanged? restore deploy/ from version control, or install zonelet again",
    )
