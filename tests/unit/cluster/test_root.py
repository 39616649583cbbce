"""Who may act on the host."""

from __future__ import annotations

import pytest

from provider.cluster.root import require_root
from provider.cluster.steps import SetupError


def test_another_user_is_told_before_anything_is_done() -> None:
    with pytest.raises(SetupError, match="zonelet up needs root") as told:
        require_root("up", 1000)
    assert "user 1000" in told.value.why
    assert "sudo" in told.value.next_step
    require_root("up", 0)
