"""What upstream's example workflows have to come to here: file, phase, and what their pods say or their nodes become.

The files are taken as upstream's module has them. Phases are what the file says of itself (its comments, the label
`workflows.argoproj.io/test`), else what upstream's controller makes of it on any cluster.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from provider.kube.client import Json, KubeApi
    from tests.support.argo import Terminal


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

    def phases(self, display_name: str) -> list[str]:
        """The phases of the nodes with this display name."""
        return [each["phase"] for each in self.nodes if each["displayName"] == display_name]


@dataclass(frozen=True)
class Example:
    """One file and what it has to come to.

    `says`: what stands in the logs of its pods; `nodes`: phases by display name; `pods`: how many it has;
    `meanwhile`: what a person does while it runs; `check`: anything else. `alone`: its own deadlines are a few
    seconds long, so that it runs when the many others are through.
    """

    file: str
    phase: str = "Succeeded"
    says: tuple[str, ...] = ()
    nodes: dict[str, str] = field(default_factory=dict)
    pods: int | None = None
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


def once(*groups: str) -> Callable[[Outcome], None]:
    """Return the check for alternatives: one of these nodes ran, the others were skipped."""

    def check(outcome: Outcome) -> None:
        found = Counter(phase for name in groups for phase in outcome.phases(name))
        assert found == {"Succeeded": 1, "Skipped": len(groups) - 1}

    return check


EXAMPLES = (
    # ---- steps, DAG, loops
    Example("hello-world.yaml", says=("hello world",)),
    Example("steps.yaml", says=("hello1", "hello2a", "hello2b"), pods=3),
    Example("dag-diamond.yaml", says=("A", "B", "C", "D"), pods=4),
    Example("dag-nested.yaml", pods=16),
    Example("dag-targets.yaml", says=("A", "C", "E"), pods=3),
    Example("loops.yaml", says=("hello world", "goodbye world"), pods=2),
    Example("loops-maps.yaml", says=("zonelet stand-in",), pods=4),
    Example("loops-dag.yaml", says=("A", "foo", "bar", "baz", "C"), pods=5),
    Example("loops-param-result.yaml", says=("sleeping for 20 seconds", "sleeping for 30 seconds"), pods=12),
    # ---- conditionals
    Example("conditionals.yaml", nodes={"print-hello-govaluate": "Succeeded"}),
    Example("coinflip.yaml", check=once("heads", "tails")),
    # ---- retries
    Example("retry-script.yaml", check=retried(10)),
    # ---- exit handlers
    Example("exit-handlers.yaml", "Failed", says=("send e-mail", "boohoo!"), nodes={"celebrate": "Skipped"}),
    # ---- daemons and sidecars
    Example("daemon-nginx.yaml", says=("Welcome to nginx!",)),
    Example("daemon-step.yaml"),
    Example("sidecar-nginx.yaml", says=("Welcome to nginx!",)),
    # ---- timeouts
    Example("timeouts-step.yaml", "Failed"),
    Example("timeouts-workflow.yaml", "Failed"),
    # ---- parameters, outputs, scripts
    Example("arguments-parameters.yaml", says=("hello world",)),
    Example("output-parameter.yaml", says=("hello world",)),
    Example("scripts-bash.yaml"),
    Example("scripts-python.yaml"),
    Example("init-container.yaml", says=("bye",)),
)
