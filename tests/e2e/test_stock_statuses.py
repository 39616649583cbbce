"""The same pods on an upstream kubelet and on a virtual node: every field of their statuses, or a reason."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.compatibility.cases import CASES, Case
from tests.compatibility.known import why
from tests.compatibility.lab import compared
from tests.support.installation import installed
from tests.support.names import own_name

if TYPE_CHECKING:
    from tests.compatibility.run import Result

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def results() -> dict[str, Result]:
    """All cases, run once on both nodes."""
    config = {"zones": [{"name": "zone-a", "vSwitches": [{"cidr": "10.219.12.0/22"}]}], "node": {"taint": "none"}}
    with installed(own_name("stock-statuses"), argo=False, stock=True, config=config) as lab:
        found = asyncio.run(compared(lab, CASES))
    return {each.case.name: each for each in found}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_status_is_the_stock_kubelets(case: Case, results: dict[str, Result]) -> None:
    result = results[case.name]
    assert result.late == ()
    assert [each for each in result.differences if not why(case.name, each)] == []
