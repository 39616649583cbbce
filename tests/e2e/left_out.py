"""Upstream's example files that tests/e2e does not run, each with the reason."""

from __future__ import annotations

__all__ = ["LEFT_OUT"]

_REPOSITORY = "its artifacts need an artifact repository (S3 or alike), which the local cluster does not have yet"
_INTERNET = "it fetches from, or calls, a server of the internet"
_CLOUD = "it needs an account at a cloud, or a storage server of its own kind"
_NO_VOLUMES = "it claims a persistent volume, and there is no storage class yet"
_DNS = "it looks a Service up by its name, and there is no cluster DNS and no kube-proxy yet"
_DATABASE = "it synchronises over a database, which the controller's configuration has to name"
_WINDOWS = "it needs a Windows node"
_PRIVILEGED = "it needs a privileged container, which the engines of these machines refuse"
_PART = "it defines something that other files use, and runs nothing by itself"
_SLOW = "it takes minutes, most of them asleep; what it shows is run by another example: "
_CHANCE = "it draws lots, and may end either way"
_ALIKE = "it is another example with other names: "
_OLD = "it is the form of before v3.6 of a file that is run: "
_IMAGE = "its image is one for which there is no stand-in here"

_BY_REASON: dict[str, tuple[str, ...]] = {
    _REPOSITORY: (
        "archive-location.yaml",
        "artifact-disable-archive.yaml",
        "artifact-gc-workflow.yaml",
        "artifact-passing-subpath.yaml",
        "artifact-passing.yaml",
        "artifact-path-placeholders.yaml",
        "artifact-repository-ref.yaml",
        "artifacts-workflowtemplate.yaml",
        "ci-output-artifact.yaml",
        "ci-workflowtemplate.yaml",
        "ci.yaml",
        "conditional-artifacts.yaml",
        "container-set-template/workspace-workflow.yaml",
        "dag-conditional-artifacts.yaml",
        "data-transformations.yaml",
        "exit-handler-with-artifacts.yaml",
        "global-outputs.yaml",
        "handle-large-output-results.yaml",
        "key-only-artifact.yaml",
        "map-reduce.yaml",
        "nested-workflow.yaml",
        "output-artifact-s3.yaml",
        "input-artifact-s3.yaml",
        "workflow-template/workflow-archive-logs.yaml",
        "work-avoidance.yaml",
        "fun-with-gifs.yaml",
    ),
    _INTERNET: (
        "arguments-artifacts.yaml",
        "artifactory-artifact.yaml",
        "buildkit-template.yaml",
        "exit-handler-slack.yaml",
        "http-hello-world.yaml",
        "http-success-condition.yaml",
        "influxdb-ci.yaml",
        "input-artifact-git.yaml",
        "input-artifact-http.yaml",
        "life-cycle-hooks-tmpl-level.yaml",
        "life-cycle-hooks-wf-level.yaml",
        "webhdfs-input-output-artifacts.yaml",
    ),
    _CLOUD: (
        "hdfs-artifact.yaml",
        "input-artifact-azure.yaml",
        "input-artifact-gcs.yaml",
        "input-artifact-oss.yaml",
        "output-artifact-azure.yaml",
        "output-artifact-gcs.yaml",
    ),
    _NO_VOLUMES: ("testvolume.yaml", "volumes-existing.yaml", "volumes-pvc.yaml"),
    _DNS: ("daemoned-stateful-set-with-service.yaml",),
    _DATABASE: (
        "synchronization-db-mutex-tmpl-level.yaml",
        "synchronization-db-mutex-wf-level.yaml",
        "synchronization-db-tmpl-level.yaml",
        "synchronization-db-wf-level.yaml",
    ),
    _WINDOWS: ("hello-hybrid.yaml", "hello-windows.yaml"),
    _PRIVILEGED: ("sidecar-dind.yaml",),
    _PART: (
        "cluster-workflow-template/clustertemplates.yaml",
        "configmaps/simple-parameters-configmap.yaml",
        "dag-inline-clusterworkflowtemplate.yaml",
        "dag-inline-workflowtemplate.yaml",
        "workflow-count-resourcequota.yaml",
        "workflow-event-binding/event-consumer-workfloweventbinding.yaml",
        "workflow-event-binding/event-consumer-workflowtemplate.yaml",
        "workflow-event-binding/github-path-filter-workfloweventbinding.yaml",
        "workflow-event-binding/github-path-filter-workflowtemplate.yaml",
        "workflow-template/templates.yaml",
    ),
    _CHANCE: (
        "custom-metrics.yaml",
        "dag-custom-metrics.yaml",
        "resubmit.yaml",
        "retry-backoff.yaml",
        "retry-conditional.yaml",
        "retry-container-to-completion.yaml",
        "template-defaults.yaml",
        "workflow-template/retry-with-steps.yaml",
    ),
    _IMAGE: (
        "dag-daemon-retry-strategy.yaml",
        "k8s-resource-log-selector.yaml",
        "scripts-javascript.yaml",
    ),
    _SLOW + "colored-logs prints for 100 s, `logs -f` is tried by test_argo.py": ("colored-logs.yaml",),
    _SLOW + "parallelism-limit.yaml": (
        "parallelism-nested-dag.yaml",
        "parallelism-nested-workflow.yaml",
        "parallelism-nested.yaml",
        "parallelism-template-limit.yaml",
    ),
    _SLOW + "pod-gc-strategy.yaml": ("pod-gc-strategy-with-label-selector.yaml",),
    _SLOW + "synchronization-mutex-wf-level.yaml": ("synchronization-mutex-tmpl-level.yaml",),
    "it is there to run until somebody ends it": ("forever.yaml",),
    "it runs at two in the morning": ("cron-backfill.yaml",),
    _ALIKE + "cron-workflow.yaml": (
        "cron-when.yaml",
        "cron-workflow-multiple-schedules.yaml",
        "dag-inline-cronworkflow.yaml",
    ),
    _ALIKE + "cluster-workflow-template/workflow-template-ref.yaml": (
        "cluster-workflow-template/workflow-template-ref-with-entrypoint-arg-passing.yaml",
    ),
    _ALIKE + "expression-destructure-json.yaml": ("expression-destructure-json-complex.yaml",),
    _ALIKE + "conditional-parameters.yaml": ("fibonacci-seq-conditional-param.yaml",),
    _ALIKE + "k8s-jobs.yaml": ("k8s-orchestration.yaml", "resource-flags.yaml"),
    "`make demo` runs it": ("loops-sequence.yaml",),
    _OLD + "synchronization-mutex-wf-level.yaml": (
        "synchronization-mutex-tmpl-level-legacy.yaml",
        "synchronization-mutex-wf-level-legacy.yaml",
    ),
    _OLD + "synchronization-wf-level.yaml": (
        "synchronization-tmpl-level-legacy.yaml",
        "synchronization-wf-level-legacy.yaml",
    ),
}

LEFT_OUT: dict[str, str] = {file: reason for reason, files in _BY_REASON.items() for file in files}
"""File below upstream's examples/ -> reason."""
