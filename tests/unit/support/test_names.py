"""Whose an object of a test is."""

from __future__ import annotations

import pytest

from tests.support.names import own_name, run_of

NOBODY = 4194305
"""above the kernel's greatest pid"""


def test_a_run_that_goes_on_is_known_by_its_objects_names() -> None:
    name = own_name("some-thing")
    for each in (name, f"{name}-vsw_zone-a_vsw-0", f"/{name}_pod", f"{name}-0"):
        assert run_of(each) == (name, True)


@pytest.mark.parametrize("pid", [NOBODY, 1])
def test_a_run_has_ended_when_its_process_is_none_or_another_program(pid: int) -> None:
    assert run_of(f"zt-e2e-{pid}-0a1b2c-cluster") == (f"zt-e2e-{pid}-0a1b2c", False)


@pytest.mark.parametrize("text", ["zonelet-cluster", "kind", "zt-e2e-12", "azt-e2e-12-0a1b2c", "zt-e2e-12-0a1b2c3"])
def test_what_no_test_made_belongs_to_no_run(text: str) -> None:
    assert run_of(text) is None
