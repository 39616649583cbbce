from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provider.config.profiles import load_profile
from provider.translate.manifests import pods_of
from provider.translate.verdict import verdict

Json = dict[str, Any]
SPEC: Json = {"containers": [{"name": "c", "image": "i"}]}
TEMPLATE: Json = {"metadata": {"labels": {"app": "x"}}, "spec": SPEC}


def workflow(*templates: Json, kind: str = "Workflow", **spec: Any) -> Json:
    body = {"templates": list(templates), **spec}
    return {
        "kind": kind,
        "metadata": {"generateName": "w-"},
        "spec": {"workflowSpec": body} if kind == "CronWorkflow" else body,
    }


@pytest.mark.parametrize(
    ("document", "where"),
    [
        ({"kind": "Pod", "metadata": {"name": "n"}, "spec": SPEC}, "Pod/n"),
        ({"kind": "Deployment", "metadata": {"name": "n"}, "spec": {"template": TEMPLATE}}, "Deployment/n"),
        ({"kind": "Job", "metadata": {"generateName": "n-"}, "spec": {"template": TEMPLATE}}, "Job/n"),
        ({"kind": "PodTemplate", "metadata": {"name": "n"}, "template": TEMPLATE}, "PodTemplate/n"),
        (
            {"kind": "CronJob", "metadata": {"name": "n"}, "spec": {"jobTemplate": {"spec": {"template": TEMPLATE}}}},
            "CronJob/n",
        ),
        ({"kind": "List", "items": [{"kind": "Pod", "spec": SPEC}]}, "Pod/unnamed"),
    ],
)
def test_pods_and_what_has_a_template(document: Json, where: str) -> None:
    (found,) = pods_of([document, {"kind": "Service", "spec": {}}, None, "text"])
    assert found.where == where
    assert found.raw["spec"] == SPEC
    assert found.raw["metadata"]["name"] == where.partition("/")[2]
    assert verdict(found.raw, load_profile("eci")).accepted


def test_a_daemon_sets_pod_knows_its_owner() -> None:
    (found,) = pods_of([{"kind": "DaemonSet", "metadata": {"name": "n"}, "spec": {"template": TEMPLATE}}])
    assert "DaemonSet n" in verdict(found.raw, load_profile("eci")).message
    assert found.raw["metadata"]["labels"] == {"app": "x"}


@pytest.mark.parametrize("kind", ["Workflow", "WorkflowTemplate", "ClusterWorkflowTemplate", "CronWorkflow"])
def test_a_template_that_runs_in_a_pod_has_argos_containers(kind: str) -> None:
    box = {"image": "i", "resources": {"limits": {"cpu": "4"}}}
    found = pods_of([workflow({"name": "one", "container": box}, {"name": "dag", "dag": {"tasks": []}}, kind=kind)])
    (one,) = found
    assert one.where == f"{kind}/w/one"
    assert [each["name"] for each in one.raw["spec"]["initContainers"]] == ["init"]
    assert [each["name"] for each in one.raw["spec"]["containers"]] == ["wait", "main"]
    answer = verdict(one.raw, load_profile("eci"))
    assert answer.plan is not None
    assert answer.plan.sizes[0].name == "4.0-2.0Gi"


def test_scripts_sets_resources_sidecars_and_inline_templates() -> None:
    found = pods_of(
        [
            workflow(
                {"name": "s", "script": {"image": "i", "source": "echo"}, "sidecars": [{"name": "db", "image": "d"}]},
                {
                    "name": "set",
                    "containerSet": {
                        "containers": [{"name": "a", "image": "i"}, {"name": "b", "image": "i", "dependencies": ["a"]}]
                    },
                },
                {"name": "r", "resource": {"action": "create"}},
                {"name": "steps", "steps": [[{"name": "x", "inline": {"container": {"image": "i"}}}]]},
                {"name": "wait", "suspend": {}},
            )
        ]
    )
    assert [(one.where, [each["name"] for each in one.raw["spec"]["containers"]]) for one in found] == [
        ("Workflow/w/s", ["wait", "main", "db"]),
        ("Workflow/w/set", ["wait", "a", "b"]),
        ("Workflow/w/r", ["main"]),
        ("Workflow/w/steps/x", ["wait", "main"]),
    ]
    assert all(verdict(one.raw, load_profile("eci")).accepted for one in found)


def test_annotations_defaults_volumes_and_parameters_of_a_workflow() -> None:
    template = {
        "name": "one",
        "metadata": {"annotations": {"b": "2"}},
        "inputs": {"parameters": [{"name": "cpu", "value": "3"}]},
        "container": {
            "image": "i",
            "resources": {"limits": {"cpu": "{{inputs.parameters.cpu}}", "memory": "{{workflow.parameters.m}}"}},
        },
    }
    (one,) = pods_of(
        [
            workflow(
                template,
                arguments={"parameters": [{"name": "m", "value": "6Gi"}]},
                podMetadata={"annotations": {"a": "1", "b": "1"}},
                templateDefaults={"podSpecPatch": "x"},
                volumes=[{"name": "v", "emptyDir": {}}],
                hostNetwork=True,
            )
        ]
    )
    assert one.raw["metadata"]["annotations"] == {"a": "1", "b": "2"}
    assert [each["name"] for each in one.raw["spec"]["volumes"]] == ["var-run-argo", "tmp-dir-argo", "v"]
    assert one.raw["spec"]["containers"][1]["resources"] == {"limits": {"cpu": "3", "memory": "6Gi"}}
    assert one.raw["spec"]["hostNetwork"] is True
    assert one.untold == ("template.podSpecPatch is not applied",)


def test_a_parameter_that_only_a_run_knows_is_told() -> None:
    box = {"image": "i", "resources": {"limits": {"cpu": "{{inputs.parameters.cpu}}"}}}
    (one,) = pods_of([workflow({"name": "one", "container": box})])
    answer = verdict(one.raw, load_profile("eci"))
    assert "quantity '{{inputs.parameters.cpu}}'" in answer.message


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "kind",
                    "metadata",
                    "spec",
                    "template",
                    "templates",
                    "containers",
                    "container",
                    "name",
                    "items",
                    "steps",
                    "inline",
                    "jobTemplate",
                    "volumes",
                    "resources",
                    "limits",
                    "cpu",
                    "workflowSpec",
                    "dag",
                    "tasks",
                    "inputs",
                    "parameters",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(
    document=junk,
    kind=st.sampled_from(["Pod", "Deployment", "CronJob", "Workflow", "CronWorkflow", "List", "PodTemplate"]),
    spec=junk,
)
def test_no_manifest_crashes_the_reader_or_the_verdict(document: Any, kind: str, spec: Any) -> None:
    for one in ({"kind": kind, "spec": spec}, {"kind": kind, "metadata": document, "spec": spec}, document):
        for found in pods_of([one]):
            answer = verdict(found.raw, load_profile("eci"))
            assert answer.accepted or answer.message
