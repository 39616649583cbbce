"""The pods that Kubernetes manifests lead to, as far as it can be told without a cluster. Pure.

A Pod is itself; a workload (`spec.template`, a CronJob's `jobTemplate`) has one; of a workflow of Argo, each template
that runs in a pod has one, with the containers that Argo adds: `init`, and `wait` but for resource and data templates
(workflow/controller/workflowpod.go of v3.7). A `podSpecPatch` and what only a run knows (parameters of steps) are not
applied.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Json = dict[str, Any]

WORKFLOWS = frozenset({"Workflow", "WorkflowTemplate", "ClusterWorkflowTemplate", "CronWorkflow"})
_RUN_IN_PODS = ("container", "script", "containerSet", "resource", "data")
_OF_THE_TEMPLATE = ("hostAliases", "securityContext", "serviceAccountName")
_OF_THE_WORKFLOW = (*_OF_THE_TEMPLATE, "dnsConfig", "dnsPolicy", "hostNetwork", "imagePullSecrets")
_NOT_A_CONTAINERS = ("source", "mirrorVolumeMounts", "dependencies")
EXECUTOR = "quay.io/argoproj/argoexec"


class FoundPod(Struct, frozen=True):
    """A pod as the API server would have it, and where it comes from: `Deployment/web`, `Workflow/w/main`."""

    where: str
    raw: Json
    untold: tuple[str, ...] = ()
    """what of the manifest was left out."""


def pods_of(documents: Iterable[Any]) -> list[FoundPod]:
    """Return the pods of all documents, in their order; what is no object with pods has none."""
    return [found for document in documents if isinstance(document, dict) for found in _pods(document)]


def _pods(document: Json) -> Iterator[FoundPod]:
    kind, spec = str(document.get("kind") or ""), document.get("spec")
    if kind == "List" or kind.endswith("List"):
        yield from pods_of(document.get("items") or ())
        return
    where = f"{kind or 'Pod'}/{_name(document)}"
    if kind in WORKFLOWS and isinstance(spec, dict):
        yield from _of_workflow(where, spec.get("workflowSpec") if kind == "CronWorkflow" else spec)
    elif kind in ("Pod", ""):
        if isinstance(spec, dict) and "containers" in spec:
            yield FoundPod(where, _pod(document, _name(document)))
    else:
        template = document.get("template") if kind == "PodTemplate" else _template(spec)
        if isinstance(template, dict) and isinstance(template.get("spec"), dict):
            raw = _pod(template, _name(document))
            if kind == "DaemonSet":
                owner = {"apiVersion": "apps/v1", "kind": kind, "name": _name(document), "controller": True}
                raw["metadata"]["ownerReferences"] = [owner]
            yield FoundPod(where, raw)


def _template(spec: Any) -> Any:
    """Return `spec.template`, for a CronJob that of its jobs."""
    if not isinstance(spec, dict):
        return None
    below = spec.get("jobTemplate")
    return _template(below.get("spec")) if isinstance(below, dict) else spec.get("template")


def _name(document: Json) -> str:
    meta = document.get("metadata")
    meta = meta if isinstance(meta, dict) else {}
    return str(meta.get("name") or str(meta.get("generateName") or "").rstrip("-") or "unnamed")


def _pod(source: Json, name: str) -> Json:
    given = source.get("metadata")
    meta = {key: given[key] for key in ("annotations", "labels") if given.get(key)} if isinstance(given, dict) else {}
    return {"metadata": {"name": name, **meta}, "spec": source["spec"]}


# ------------------------------------------------------------------ Argo Workflows


def _of_workflow(where: str, spec: Any) -> Iterator[FoundPod]:
    if not isinstance(spec, dict):
        return
    defaults = spec.get("templateDefaults")
    for template in spec.get("templates") or ():
        if isinstance(template, dict):
            yield from _of_template(where, spec, {**(defaults if isinstance(defaults, dict) else {}), **template})


def _of_template(where: str, workflow: Json, template: Json) -> Iterator[FoundPod]:
    here = f"{where}/{template.get('name') or 'inline'}"
    for step in _steps(template):
        if isinstance(step.get("inline"), dict):
            yield from _of_template(here, workflow, {"name": step.get("name"), **step["inline"]})
    kind = next((key for key in _RUN_IN_PODS if isinstance(template.get(key), dict)), None)
    if kind is None:
        return
    values = _values("workflow.parameters", workflow.get("arguments")) | _values(
        "inputs.parameters", template.get("inputs")
    )
    made = _filled(_argo_pod(workflow, template, kind), values)
    patched = [f"{key}.podSpecPatch is not applied" for key, one in _patches(workflow, template) if one]
    yield FoundPod(here, made, tuple(patched))


def _steps(template: Json) -> Iterator[Json]:
    dag = template.get("dag")
    tasks = (dag.get("tasks") or ()) if isinstance(dag, dict) else ()
    groups = template.get("steps") or ()
    for step in (*tasks, *(step for group in groups for step in (group if isinstance(group, list) else [group]))):
        if isinstance(step, dict):
            yield step


def _patches(workflow: Json, template: Json) -> tuple[tuple[str, Any], ...]:
    return ("spec", workflow.get("podSpecPatch")), ("template", template.get("podSpecPatch"))


def _argo_pod(workflow: Json, template: Json, kind: str) -> Json:
    if kind == "containerSet":
        mains = list(template[kind].get("containers") or ())
    elif kind in ("resource", "data"):
        mains = [{"image": EXECUTOR}]
    else:
        mains = [template[kind]]
    executor = {"image": EXECUTOR}
    wait = [] if kind in ("resource", "data") else [{**executor, "name": "wait"}]
    names = ["main"] if kind != "containerSet" else [str(one.get("name")) for one in mains if isinstance(one, dict)]
    containers = [{**_bare(one), "name": name} for one, name in zip(mains, names, strict=False)]
    spec: Json = {key: workflow[key] for key in _OF_THE_WORKFLOW if key in workflow}
    spec |= {key: template[key] for key in _OF_THE_TEMPLATE if key in template}
    spec["restartPolicy"] = "Never"
    spec["initContainers"] = [{**executor, "name": "init"}, *map(_bare, template.get("initContainers") or ())]
    spec["containers"] = [*wait, *containers, *map(_bare, template.get("sidecars") or ())]
    own: list[Json] = [{"name": name, "emptyDir": {}} for name in ("var-run-argo", "tmp-dir-argo")]
    spec["volumes"] = [*own, *(workflow.get("volumes") or ()), *(template.get("volumes") or ())]
    meta: Json = {"name": str(template.get("name") or "inline")}
    for key in ("annotations", "labels"):
        merged: Json = {}
        for source in (workflow.get("podMetadata"), template.get("metadata")):
            merged |= (source.get(key) or {}) if isinstance(source, dict) else {}
        if merged:
            meta[key] = merged
    return {"metadata": meta, "spec": spec}


def _bare(container: Any) -> Any:
    """Return a container without what only Argo reads."""
    if not isinstance(container, dict):
        return container
    return {key: value for key, value in container.items() if key not in _NOT_A_CONTAINERS}


def _values(prefix: str, arguments: Any) -> dict[str, str]:
    """Return the parameters that have a value, by the text that stands for them."""
    parameters = (arguments.get("parameters") or ()) if isinstance(arguments, dict) else ()
    found: dict[str, str] = {}
    for one in parameters:
        value = one.get("value", one.get("default")) if isinstance(one, dict) else None
        if value is not None:
            found[f"{{{{{prefix}.{one.get('name')}}}}}"] = str(value)
    return found


def _filled(pod: Json, values: dict[str, str]) -> Json:
    text = json.dumps(pod, default=str)
    for name, value in values.items():
        text = text.replace(name, json.dumps(value)[1:-1])
    filled: Json = json.loads(text)
    return filled
