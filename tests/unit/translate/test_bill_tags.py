"""What Argo Workflows 3.7.3 writes at a pod, and what a bill makes of it."""

from __future__ import annotations

from typing import Any

import pytest

from provider.model.pod import pod_from_json
from provider.translate.bill_tags import bill_tags

ARGO = {
    "labels": {"workflows.argoproj.io/workflow": "fan-x7k2p"},
    "annotations": {"workflows.argoproj.io/node-name": "fan-x7k2p[0].work(3:d)"},
    "ownerReferences": [
        {"kind": "Workflow", "name": "fan-x7k2p", "controller": True, "apiVersion": "x/v1", "uid": "1"}
    ],
}


def tags(name: str = "fan-x7k2p-work-12345", template: str | None = None, **meta: Any) -> dict[str, str]:
    env = [] if template is None else [{"name": "ARGO_TEMPLATE", "value": template}]
    init = [{"name": "init", "image": "argoexec", "env": env}]
    spec = {"containers": [{"name": "main", "image": "i"}], "initContainers": init}
    return dict(
        bill_tags(pod_from_json({"metadata": {"name": name, "namespace": "n", "uid": "u", **meta}, "spec": spec}))
    )


def test_a_workflows_pod() -> None:
    assert tags(template='{"name":"work","inputs":{},"container":{"image":"i"}}', **ARGO) == {
        "owner-kind": "Workflow",
        "owner-name": "fan-x7k2p",
        "workflow": "fan-x7k2p",
        "node": "fan-x7k2p[0].work(3:d)",
        "template": "work",
    }


def test_a_daemon_step() -> None:
    assert tags(template='{"name":"serve","daemon":true}', **ARGO)["daemon"] == "true"
    assert "daemon" not in tags(template='{"name":"serve","daemon":false}', **ARGO)


@pytest.mark.parametrize("template", [None, "offloaded", "[]", '{"name":5}', '{"name":""}'])
@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("fan-x7k2p-work-12345", "work"),
        ("fan-x7k2p-a-long-one-12345", "a-long-one"),
        ("fan-x7k2p", None),
        ("fan-x7k2p-work", None),
        ("other-work-12345", None),
    ],
)
def test_a_template_that_is_elsewhere_is_in_the_pods_name(template: str | None, name: str, found: str | None) -> None:
    assert tags(name, template, **ARGO).get("template") == found


def test_other_pods_have_their_owner() -> None:
    owners = [{"kind": "Node", "name": "n"}, {"kind": "ReplicaSet", "name": "web-1", "controller": True}]
    assert tags("web-1-abc", ownerReferences=owners) == {"owner-kind": "ReplicaSet", "owner-name": "web-1"}
    assert tags("bare") == {}
    assert tags(template='{"name":"work"}') == {}
