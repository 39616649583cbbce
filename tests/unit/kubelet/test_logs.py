"""Queries of kubectl logs as the kubelet reads them."""

from __future__ import annotations

import pytest

from provider.cloud.backend import LogOptions
from provider.kubelet.logs import LogQueryError, log_options


def test_all_options() -> None:
    query = {"follow": "true", "previous": "1", "timestamps": "", "tailLines": "0", "limitBytes": "9"}
    assert log_options({**query, "sinceSeconds": "10"}, now=100.0) == LogOptions(
        follow=True, previous=True, timestamps=True, tail=0, since=90.0, limit_bytes=9
    )


def test_nothing_asked_and_false_said() -> None:
    assert log_options({}, now=1.0) == LogOptions()
    assert log_options({"follow": "False", "previous": "0", "stream": "All"}, now=1.0) == LogOptions()


def test_since_time_with_nanoseconds() -> None:
    assert log_options({"sinceTime": "1970-01-01T00:01:00.500000001Z"}, now=1.0).since == 60.5


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"tailLines": "x"}, 400),
        ({"tailLines": "-1"}, 422),
        ({"limitBytes": "0"}, 422),
        ({"sinceSeconds": "0"}, 422),
        ({"sinceTime": "yesterday"}, 400),
        ({"sinceTime": "2026-01-01T00:00:00"}, 400),
        ({"stream": "Stderr"}, 400),
        ({"stream": "stdin"}, 422),
        ({"sinceSeconds": "1", "sinceTime": "2026-01-01T00:00:00Z"}, 422),
    ],
)
def test_refused(query: dict[str, str], status: int) -> None:
    with pytest.raises(LogQueryError) as error:
        log_options(query, now=1.0)
    assert error.value.status == status
