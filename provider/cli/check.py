"""`zonelet check`: what a profile makes of the pods in manifests, without a cluster.

Exit code 0: all are accepted; 1: one is refused; 2: the question makes no sense (a file, a profile).
"""

from __future__ import annotations

import sys
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated

import typer

from provider.cli.tables import Output, render

if TYPE_CHECKING:
    from provider.model.profile import Profile
    from provider.translate.manifests import FoundPod
    from provider.translate.verdict import Verdict

REFUSED = 1
NO_QUESTION = 2
_MICRO = 1_000_000
_WIDE_ONLY = ("asked", "candidates", "extra disk", "profile")


def check(
    manifests: Annotated[list[Path], typer.Argument(help="YAML or JSON files with pods in them; - is the input.")],
    profile: Annotated[
        str, typer.Option("--profile", "-p", help="plain, eci, acs, fargate, aci, or a profile's file.")
    ] = "plain",
    output: Annotated[Output, typer.Option("--output", "-o", help="How to print.")] = Output.TABLE,
) -> None:
    """Tell which size and price the pods in manifests get, or why they are refused; needs no cluster."""
    from provider.config.document import ConfigError
    from provider.config.profiles import load_profile
    from provider.translate.verdict import verdict

    try:
        used = load_profile(profile)
        found = [pod for path in manifests for pod in _pods(path)]
    except ConfigError as error:
        for mistake in error.mistakes:
            typer.echo(mistake, err=True)
        raise typer.Exit(NO_QUESTION) from None
    verdicts = [(pod, verdict(pod.raw, used)) for pod in found]
    structured = output in (Output.JSON, Output.YAML)
    rows = [_facts(pod, one, used) if structured else _row(pod, one, used) for pod, one in verdicts]
    typer.echo(render(rows, output, wide_only=_WIDE_ONLY))
    if not structured:
        for pod, one in verdicts:
            for note in _notes(pod, one):
                typer.echo(f"{pod.where}: {note}", err=True)
        typer.echo(f"profile {used.name}{f': {used.describes}' if used.describes else ''}", err=True)
    if not all(one.accepted for _, one in verdicts):
        raise typer.Exit(REFUSED)


def _pods(path: Path) -> list[FoundPod]:
    from provider.config.document import ConfigError, documents_of, text_of
    from provider.translate.manifests import pods_of

    text = sys.stdin.read() if str(path) == "-" else text_of(path)
    try:
        found = pods_of(documents_of(text))
    except ConfigError as error:
        raise ConfigError([f"{path}: {mistake}" for mistake in error.mistakes]) from error
    if not found:
        raise ConfigError([f"{path}: no pod in it: expected a Pod, a workload with a pod template, or a Workflow"])
    return found


def _row(pod: FoundPod, one: Verdict, profile: Profile) -> dict[str, object]:
    facts = _facts(pod, one, profile)
    price = facts["pricePerHour"]
    at_most = "at most " if facts["market"] not in (None, "pay-as-you-go") else ""
    sizes = facts["candidates"]
    assert isinstance(sizes, list)  # noqa: S101 - see _facts
    return {
        "pod": facts["pod"],
        "result": "accepted" if one.accepted else "refused",
        "size": facts["size"],
        "market": facts["market"],
        "price/h": None if price is None else f"{at_most}{_rounded(one.price or 0)} {profile.currency}",
        "why": "" if one.accepted else f"{one.reason}: {one.message}",
        "asked": None if one.plan is None else f"{one.plan.asked[0]}m {one.plan.asked[1] / 2**30:g}Gi",
        "candidates": ", ".join(sizes),
        "extra disk": None if one.plan is None else f"{one.plan.extra_disk / 2**30:g}Gi",
        "profile": profile.name,
    }


def _facts(pod: FoundPod, one: Verdict, profile: Profile) -> dict[str, object]:
    """Return what is known, in exact numbers: milli-cores, bytes, a decimal text with six places."""
    plan = one.plan
    first = None if plan is None else plan.sizes[0]
    return {
        "pod": pod.where,
        "profile": profile.name,
        "accepted": one.accepted,
        "reason": one.reason,
        "message": one.message,
        "size": None if first is None else first.name,
        "cpuMilli": None if first is None else first.cpu,
        "memoryBytes": None if first is None else first.memory,
        "candidates": [] if plan is None else [f"{size.name}{_family(size.family, size.type)}" for size in plan.sizes],
        "extraDiskBytes": None if plan is None else plan.extra_disk,
        "market": None if plan is None else str(plan.market),
        "pricePerHour": None if one.price is None else f"{one.price // _MICRO}.{one.price % _MICRO:06}",
        "currency": profile.currency or None,
        "notes": _notes(pod, one),
    }


def _notes(pod: FoundPod, one: Verdict) -> list[str]:
    return [*pod.untold, *(() if one.plan is None else (told.message for told in one.plan.told))]


def _family(family: str, kind: str) -> str:
    """Name the family of a size that is no instance type: a type's name has it already."""
    return f" ({family})" if family and not kind else ""


def _rounded(micro: int) -> str:
    """Write a price with four decimals, half up, as the price lists do: 441072 -> 0.4411."""
    hundreds = (micro + 50) // 100
    return f"{hundreds // 10_000}.{hundreds % 10_000:04}"
