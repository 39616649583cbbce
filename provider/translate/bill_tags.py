"""What a bill says of a pod beside its name: its owner; of an Argo workflow's pod, workflow, step and template. Pure.

Argo Workflows 3.7 writes workflow and step at the pod (workflow/controller/workflowpod.go): the label
workflows.argoproj.io/workflow, the annotation workflows.argoproj.io/node-name. The template is in no label and no
annotation: it is JSON in the variable ARGO_TEMPLATE of the init containers, or, where that got too large, only a part
of the pod's name, `<workflow>-<template>-<hash>` (workflow/util/pod_name.go).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

if TYPE_CHECKING:
    from provider.model.pod import Pod

WORKFLOW = "workflows.argoproj.io/workflow"
NODE_NAME = "workflows.argoproj.io/node-name"
_VARIABLE = "ARGO_TEMPLATE"


class _Template(Struct, frozen=True):
    name: str = ""
    daemon: bool | None = None


def bill_tags(pod: Pod) -> tuple[tuple[str, str], ...]:
    """Return the tags `owner-kind`, `owner-name`, `workflow`, `node`, `template`, `daemon`: those that there are."""
    meta = pod.metadata
    owner = next((one for one in meta.owner_references or () if one.controller), None)
    workflow = (meta.labels or {}).get(WORKFLOW, "")
    template = _template(pod, workflow) if workflow else _Template()
    tags = {
        "owner-kind": "" if owner is None else owner.kind,
        "owner-name": "" if owner is None else owner.name,
        "workflow": workflow,
        "node": (meta.annotations or {}).get(NODE_NAME, "") if workflow else "",
        "template": template.name,
        "daemon": "true" if template.daemon else "",
    }
    return tuple((name, value) for name, value in tags.items() if value)


def _template(pod: Pod, workflow: str) -> _Template:
    containers = (*(pod.spec.init_containers or ()), *pod.spec.containers)
    found = (one.value for container in containers for one in container.env or () if one.name == _VARIABLE)
    for text in found:
        try:
            template = msgspec.json.decode(text, type=_Template)
        except msgspec.MsgspecError:
            continue  # offloaded to a ConfigMap, or no template at all: the name says what it says
        if template.name:
            return template
    name, prefix = pod.metadata.name, f"{workflow}-"
    middle, dash, digest = name.removeprefix(prefix).rpartition("-")
    return _Template(middle if name.startswith(prefix) and dash and digest.isdigit() else "")
