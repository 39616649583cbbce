"""One line an event, ours and the libraries' alike."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from provider.observability import logging as our_logging


@pytest.fixture(autouse=True)
def _handlers_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def test_lines_are_json_away_from_a_terminal() -> None:
    stream = io.StringIO()
    our_logging.configure(stream=stream)
    structlog.get_logger("zonelet.test").info("pod started", pod="ns/a", zone="zone-a")
    line = json.loads(stream.getvalue())
    assert line["event"] == "pod started"
    assert (line["pod"], line["zone"], line["level"], line["logger"]) == ("ns/a", "zone-a", "info", "zonelet.test")
    assert line["timestamp"].endswith("Z")


def test_a_library_s_line_has_the_same_shape() -> None:
    stream = io.StringIO()
    our_logging.configure(stream=stream)
    logging.getLogger("some.library").warning("retrying %s", "now")
    line = json.loads(stream.getvalue())
    assert (line["event"], line["level"], line["logger"]) == ("retrying now", "warning", "some.library")


def test_what_is_below_the_level_is_left_out() -> None:
    stream = io.StringIO()
    our_logging.configure("warning", stream)
    structlog.get_logger("zonelet.test").info("noise")
    assert stream.getvalue() == ""


def test_a_failure_keeps_its_traceback() -> None:
    stream = io.StringIO()
    our_logging.configure(stream=stream)
    try:
        raise ValueError("no such zone")
    except ValueError:
        structlog.get_logger("zonelet.test").exception("worker failed")
    line = json.loads(stream.getvalue())
    assert line["exception"][0]["exc_value"] == "no such zone"
