"""The query of /containerLogs as LogOptions, with the kubelet's reading of it."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from provider.cloud.backend import LogOptions

if TYPE_CHECKING:
    from collections.abc import Mapping


class LogQueryError(ValueError):
    """A query that the kubelet refuses: `status` is 400 (does not parse) or 422 (parses, makes no sense)."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def log_options(query: Mapping[str, str], now: float) -> LogOptions:
    """Read PodLogOptions from the query; `now` is seconds since the epoch, for sinceSeconds.

    Raises LogQueryError. Rules: k8s.io/apimachinery conversion of query parameters (every value of a bool but "0" and
    "false" is true) and pkg/apis/core/validation ValidatePodLogOptions (the lower bounds, one `since` at most).
    """
    _check_stream(query.get("stream", ""))
    since_seconds = _number(query, "sinceSeconds", at_least=1)
    since_time = query.get("sinceTime", "")
    if since_seconds is not None and since_time:
        raise LogQueryError(422, "at most one of `sinceTime` or `sinceSeconds` may be specified")
    since = now - since_seconds if since_seconds is not None else _time(since_time)
    return LogOptions(
        follow=_flag(query, "follow"),
        previous=_flag(query, "previous"),
        timestamps=_flag(query, "timestamps"),
        tail=_number(query, "tailLines", at_least=0),
        since=since,
        limit_bytes=_number(query, "limitBytes", at_least=1),
    )


def _check_stream(stream: str) -> None:
    """Refuse one stream alone, as a kubelet does without the alpha feature PodLogsQuerySplitStreams."""
    if stream in ("Stdout", "Stderr"):
        raise LogQueryError(400, f'unable to return the given log stream: "{stream}": only both together are kept')
    if stream not in ("", "All"):
        raise LogQueryError(422, f'stream: "{stream}" is none of All, Stdout, Stderr')


def _flag(query: Mapping[str, str], name: str) -> bool:
    return name in query and query[name].lower() not in ("0", "false")


def _number(query: Mapping[str, str], name: str, *, at_least: int) -> int | None:
    text = query.get(name, "")
    if not text:
        return None
    try:
        number = int(text)
    except ValueError as error:
        raise LogQueryError(400, f"{name}: {text!r} is no whole number") from error
    if number < at_least:
        raise LogQueryError(422, f"{name}: must be greater than or equal to {at_least}")
    return number


def _time(text: str) -> float | None:
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise LogQueryError(400, f"sinceTime: {text!r} is no RFC 3339 time") from error
    if moment.tzinfo is None:
        raise LogQueryError(400, f"sinceTime: {text!r} names no time zone")
    return moment.timestamp()
