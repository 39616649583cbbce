"""What a half started container's process is known by; the rest is tested with an engine that ends in the middle."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from provider.cloud.runtime.docker_engine.half_started import waits_to_begin

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("command", "waits"),
    [
        (b"runc\0init\0", True),
        (b"/usr/sbin/runc\0init\0", True),
        (b"runc\0", False),
        (b"runc\0exec\0", False),
        (b"init\0", False),
        (b"/bin/sh\0-c\0runc init\0", False),
        (b"notrunc\0init\0", False),
        (b"", False),
    ],
)
def test_only_runcs_own_process_waits_to_begin(tmp_path: Path, command: bytes, waits: bool) -> None:
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "cmdline").write_bytes(command)
    assert waits_to_begin(7, tmp_path) is waits


def test_a_process_that_has_ended_may_have_begun(tmp_path: Path) -> None:
    """It must not be started a second time."""
    assert not waits_to_begin(7, tmp_path)
