"""What upstream's example workflows have to come to here: file, phase, and what their pods say or their nodes become.

The files are taken as upstream's module has them. Phases are what the file says of itself (its comments, the label
`workflows.argoproj.io/test`), else what upstream's controller makes of it on any cluster.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from provider.cluster.manifests import documents
from tests.support.argo import first_labelled, waits_at

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from provider.kube.client import Json, KubeApi
    from tests.support.argo import Terminal


CRON_SECONDS = 100.0
"""A CronWorkflow of every minute has run within this time."""


@dataclass
class Outcome:
    """What became of an example."""

    name: str
    workflow: Json
    logs: str = ""
    told: str = ""

    @property
    def nodes(self) -> list[Json]:
        """The nodes of its tree."""
        return list(self.workflow["status"].get("nodes", {}).values())

    @property
    def pods(self) -> list[Json]:
        """The nodes that were pods."""
        return [each for each in self.nodes if each["type"] == "Pod"]

    @property
    def lines(self) -> list[str]:
        """What its pods wrote, each line without the pod's name that `argo logs` puts before it."""
        return [each.partition(": ")[2] for each in self.logs.splitlines()]

    def phases(self, display_name: str) -> list[str]:
        """The phases of the nodes with this display name."""
        return [each["phase"] for each in self.nodes if each["displayName"] == display_name]


@dataclass(frozen=True)
class Example:
    """One file and what it has to come to.

    `says`: shell patterns, each for a whole line in the logs of its pods; `nodes`: phases by display name; `pods`: how
    many it has; `start`: how it is started, if not by `argo submit`; `meanwhile`: what a person does while it runs;
    `check`: anything else. `alone`: its own deadlines are a few seconds long, so that it runs when the many are through.
    """

    file: str
    phase: str | None = "Succeeded"
    says: tuple[str, ...] = ()
    nodes: dict[str, str] = field(default_factory=dict)
    pods: int | None = None
    start: Callable[[Terminal, KubeApi, str], Awaitable[str]] | None = None
    meanwhile: Callable[[Terminal, KubeApi, str], Awaitable[None]] | None = None
    check: Callable[[Outcome], None] | None = None
    alone: bool = False


def retried(limit: int) -> Callable[[Outcome], None]:
    """Return the check for a template that fails at random: tries end with the first success, or at the limit."""

    def check(outcome: Outcome) -> None:
        retries = [each for each in outcome.nodes if each["type"] == "Retry"]
        assert retries
        tries = {each["id"]: each["phase"] for each in outcome.pods}
        for each in retries:
            phases = [tries[child] for child in each["children"] if child in tries]
            assert phases[:-1] == ["Failed"] * (len(phases) - 1)
            assert each["phase"] == phases[-1]
            assert phases[-1] == "Succeeded" or len(phases) == limit + 1

    return check


def once(*names: str) -> Callable[[Outcome], None]:
    """Return the check for alternatives: one of these nodes ran, the others were skipped."""

    def check(outcome: Outcome) -> None:
        found = Counter(phase for name in names for phase in outcome.phases(name))
        assert found == {"Succeeded": 1, "Skipped": len(names) - 1}

    return check


def at_most(limit: int) -> Callable[[Outcome], None]:
    """Return the check that never more than `limit` of its pods were at work at the same time."""

    def check(outcome: Outcome) -> None:
        # Times are whole seconds: one that ends and one that begins in the same second did not meet.
        moments = [(each["startedAt"], 1) for each in outcome.pods] + [
            (each["finishedAt"], -1) for each in outcome.pods
        ]
        at_work = most = 0
        for _, change in sorted(moments):
            at_work += change
            most = max(most, at_work)
        assert most == limit

    return check


def cached(outcome: Outcome) -> None:
    """Check that the result was saved under its key."""
    (node,) = outcome.pods
    assert node["memoizationStatus"] == {"hit": False, "key": "cache-key", "cacheName": "cache-config"}


def greeted(outcome: Outcome) -> None:
    """Check the output that an expression made."""
    (node,) = outcome.pods
    (parameter,) = node["outputs"]["parameters"]
    assert parameter["value"].startswith("hello 30 @ 20")


def labelled(outcome: Outcome) -> None:
    """Check the label that the workflow gave itself."""
    assert outcome.workflow["metadata"]["labels"]["foo"] == "bar"


def timed_out(outcome: Outcome) -> None:
    """Check that the pod's own deadline ended it, as the kubelet says that."""
    assert outcome.workflow["status"]["message"] == "Pod was active on the node longer than the specified deadline"


async def by_cron(terminal: Terminal, api: KubeApi, file: str) -> str:
    """Create a CronWorkflow, let it make one workflow at the next full minute, and suspend it."""
    text = (terminal.examples / file).read_text()
    (cron,) = documents(text)
    await terminal.argo("cron", "create", str(terminal.examples / file))
    name = cron["metadata"]["name"]
    made = await first_labelled(api, f"workflows.argoproj.io/cron-workflow={name}", CRON_SECONDS)
    await terminal.argo("cron", "suspend", name)
    return str(made["metadata"]["name"])


async def resumed(terminal: Terminal, api: KubeApi, name: str) -> None:
    """Resume the workflow when it waits at its step `approve`."""
    await waits_at(api, terminal, name, "approve")
    await terminal.argo("resume", name)


async def told_and_resumed(terminal: Terminal, api: KubeApi, name: str) -> None:
    """Give the waiting step `approve` its output, then resume."""
    await waits_at(api, terminal, name, "approve")
    await terminal.argo(
        "node", "set", name, "-p", "message=seen by a person", "--node-field-selector", "displayName=approve"
    )
    await terminal.argo("resume", name)


async def approved(terminal: Terminal, api: KubeApi, name: str) -> None:
    """Say YES at the step `approval`."""
    await waits_at(api, terminal, name, "approval")
    await terminal.argo("node", "set", name, "-p", "approve=YES", "--node-field-selector", "displayName=approval")
    await terminal.argo("resume", name)


EXAMPLES = (
    # ---- steps, DAGs
    Example("hello-world.yaml", says=("hello world",)),
    Example("steps.yaml", says=("hello1", "hello2a", "hello2b"), pods=3),
    Example("steps-inline-workflow.yaml", pods=1),
    Example("dag-diamond.yaml", says=("A", "B", "C", "D"), pods=4),
    Example("dag-diamond-steps.yaml", says=("A1", "B2", "C3", "D3"), pods=12),
    Example("dag-nested.yaml", pods=16),
    Example("dag-multiroot.yaml", says=("A", "B", "C", "D"), pods=4),
    Example("dag-targets.yaml", says=("A", "C", "E"), pods=3),
    Example("dag-inline-workflow.yaml", pods=1),
    Example(
        "dag-enhanced-depends.yaml",
        nodes={
            "C": "Failed",
            "should-execute-1": "Succeeded",
            "should-execute-2": "Succeeded",
            "should-not-execute": "Omitted",
            "should-execute-3": "Succeeded",
        },
    ),
    Example("continue-on-fail.yaml", nodes={"C": "Failed", "D": "Succeeded"}, check=at_most(1)),
    Example(
        "dag-continue-on-fail.yaml", "Failed", nodes={"B": "Failed", "D": "Succeeded", "E": "Failed", "G": "Omitted"}
    ),
    Example("dag-disable-failFast.yaml", "Failed", nodes={"C": "Failed", "E": "Succeeded"}, pods=8),
    # ---- loops
    Example("loops.yaml", says=("hello world", "goodbye world"), pods=2),
    Example("loops-maps.yaml", says=("ID=zonelet",), pods=4),
    Example("loops-dag.yaml", says=("A", "foo", "bar", "baz", "C"), pods=5),
    Example("loops-param-argument.yaml", says=("ID=zonelet", "ID=debian"), pods=4),
    Example("loops-param-result.yaml", says=("sleeping for 20 seconds", "sleeping for 30 seconds", "done"), pods=12),
    Example("loops-arbitrary-sequential-steps.yaml", "Failed", says=("succeeds 3", "will fail and stop here"), pods=4),
    Example("recursive-for-loop.yaml", says=("1", "10"), pods=10),
    Example("parallelism-limit.yaml", pods=10, check=at_most(2)),
    # ---- conditionals
    Example("conditionals.yaml", nodes={"print-hello-govaluate": "Succeeded", "print-hello-expr": "Succeeded"}),
    Example("conditionals-complex.yaml", check=once("heads-regex", "tails-regex")),
    Example("conditional-parameters.yaml", check=once("heads", "tails")),
    Example("dag-conditional-parameters.yaml", check=once("heads", "tails")),
    Example("coinflip.yaml", check=once("heads", "tails")),
    Example("coinflip-recursive.yaml", says=("it was heads",)),
    Example("status-reference.yaml", says=("the flakey container failed",), nodes={"succeeded": "Skipped"}),
    Example("exit-code-output-variable.yaml", says=("Exit code was: 123",)),
    # ---- retries; None: the phase is as the last try's exit code
    Example("retry-script.yaml", None, check=retried(10)),
    Example("retry-container.yaml", None, check=retried(10)),
    Example("retry-with-steps.yaml", None, check=retried(10)),
    Example("retry-on-error.yaml", None, check=retried(2)),
    # ---- exit handlers, hooks, garbage collection
    Example("exit-handlers.yaml", "Failed", says=("send e-mail: *", "boohoo!"), nodes={"celebrate": "Skipped"}),
    Example("exit-handler-step-level.yaml", says=("hello2b", "step cleanup"), pods=6),
    Example("exit-handler-dag-level.yaml", says=("D", "task cleanup"), pods=8),
    Example("exit-handler-with-param.yaml", says=("hello world",), pods=2),
    # Its template exitContainer gives a pod a name with a capital letter, which no API server takes.
    Example("template-on-exit.yaml", "Error", says=("hello world",)),
    Example("pod-gc-strategy.yaml", "Failed", nodes={"fail": "Failed", "succeed": "Succeeded"}),
    Example("gc-ttl.yaml", pods=1),
    Example("default-pdb-support.yaml", pods=1),
    # ---- daemons, sidecars, init containers, several containers
    Example("daemon-nginx.yaml", says=("*Welcome to nginx!*",)),
    Example("daemon-step.yaml", says=('*"load"*',)),
    Example("dag-daemon-task.yaml", says=('*"load"*',)),
    Example("steps-daemon-retry-strategy.yaml", says=("*Welcome to nginx!*",), pods=11),
    Example("sidecar.yaml", pods=1),
    Example("sidecar-nginx.yaml", says=("*Welcome to nginx!*",)),
    Example("init-container.yaml", says=("bye",)),
    Example("container-set-template/graph-workflow.yaml", pods=1, nodes=dict.fromkeys("abcd", "Succeeded")),
    Example("container-set-template/parallel-workflow.yaml", pods=1),
    Example("container-set-template/sequence-workflow.yaml", pods=1),
    Example("container-set-template/outputs-result-workflow.yaml", says=("hi",)),
    # ---- suspension, deadlines, locks
    Example("suspend-template.yaml", meanwhile=resumed, nodes={"approve": "Succeeded", "release": "Succeeded"}),
    Example("suspend-template-outputs.yaml", meanwhile=told_and_resumed, says=("seen by a person",)),
    Example("intermediate-parameters.yaml", meanwhile=approved, nodes={"deploy-prod": "Succeeded"}),
    Example("timeouts-step.yaml", "Failed", check=timed_out),
    Example("timeouts-workflow.yaml", "Failed"),
    Example("step-level-timeout.yaml", "Failed", nodes={"sleep1": "Failed"}),
    # A and C have five seconds for their start: on a busy machine they may be late too, so only B's end is sure.
    Example("dag-task-level-timeout.yaml", "Failed", alone=True),
    Example("synchronization-tmpl-level.yaml", says=("acquired lock",), pods=5),
    Example("synchronization-wf-level.yaml", says=("hello world",)),
    Example("synchronization-mutex-wf-level.yaml", says=("hello world",)),
    # ---- parameters, outputs, scripts, expressions
    Example("arguments-parameters.yaml", says=("hello world",)),
    Example("arguments-parameters-from-configmap.yaml", says=("hello world",)),
    Example("global-parameters.yaml", says=("hello world",)),
    Example("global-parameters-from-configmap.yaml", says=("hello world",)),
    Example("global-parameters-from-configmap-referenced-as-local-variable.yaml", says=("hello world",)),
    Example("title-and-description-with-markdown.yaml", says=("hello world",)),
    Example("output-parameter.yaml", says=("hello world",)),
    Example("parameter-aggregation.yaml", says=("1", "2", "[[]*even*")),
    Example("parameter-aggregation-script.yaml", says=("1", "2"), pods=6),
    Example("parameter-aggregation-dag.yaml", says=("1", "2")),
    Example("scripts-bash.yaml", says=("result was: *",)),
    Example("withsequence-nested-result.yaml"),
    Example("dag-coinflip.yaml", says=("it was heads",)),
    Example("scripts-python.yaml", says=("result was: *",)),
    Example("input-artifact-raw.yaml", says=("the raw file",)),
    Example("expression-destructure-json.yaml", says=("123",)),
    Example("expression-reusing-verbose-snippets.yaml", says=("The week's average temperature was *",)),
    Example("expression-tag-template-workflow.yaml", check=greeted),
    Example("memoize-simple.yaml", check=cached),
    Example("label-value-from-workflow.yaml", check=labelled),
    # ---- what a pod is given
    Example("volumes-emptydir.yaml", says=("Volume mounted and found",)),
    Example("secrets.yaml", says=("secret from env: S00perS3cretPa55word", "secret from file: S00perS3cretPa55word")),
    Example("image-pull-secrets.yaml", says=("hello world",)),
    Example("node-selector.yaml", says=("Linux *",)),
    Example("dns-config.yaml", says=("hello world",)),
    Example("pod-metadata.yaml", says=("hello1",)),
    Example("pod-metadata-wf-field.yaml", says=("hello1",)),
    Example("pod-spec-from-previous-step.yaml", pods=2),
    Example("pod-spec-patch.yaml", says=("hello world",)),
    Example("pod-spec-patch-wf-tmpl.yaml", says=("hello world",)),
    Example("pod-spec-yaml-patch.yaml", says=("hello world",)),
    # ---- resource templates: what is made through the API server, from inside a pod
    Example("k8s-jobs.yaml", pods=1),
    Example("k8s-owner-reference.yaml", pods=1),
    Example("k8s-set-owner-reference.yaml", pods=1),
    Example("k8s-patch-pod.yaml", pods=1),
    Example("k8s-patch-json-pod.yaml", pods=1),
    Example("k8s-patch-merge-pod.yaml", pods=1),
    Example("k8s-patch-json-workflow.yaml", check=labelled),
    Example("k8s-wait-wf.yaml", pods=2),
    Example("resource-delete-with-flags.yaml", pods=2),
    Example("workflow-of-workflows.yaml", pods=2),
    # ---- templates of other objects, and by the clock
    Example("workflow-template/hello-world.yaml", says=("hello world",)),
    Example("workflow-template/steps.yaml", says=("hello1", "inner-hello1", "inner-hello2b", "hello2b")),
    Example("workflow-template/dag.yaml", says=("A", "B", "D")),
    Example("workflow-template/workflow-template-ref.yaml", pods=1),
    Example("workflow-template/workflow-template-ref-with-entrypoint-arg-passing.yaml", says=("hello world",)),
    Example("cluster-workflow-template/cluster-wftmpl-dag.yaml", says=("A", "B", "D")),
    Example("cluster-workflow-template/mixed-cluster-namespaced-wftmpl-steps.yaml", says=("hello1", "hello2b")),
    Example("cluster-workflow-template/workflow-template-ref.yaml", pods=1),
    Example("cron-workflow.yaml", start=by_cron, says=("*hello world. Scheduled on: *",)),
)
