"""Documents that are written by commands say what the code says."""

from __future__ import annotations

from tests.e2e.examples_document import DOCUMENT, tables


def test_the_list_of_examples_is_the_one_that_is_run() -> None:
    assert DOCUMENT.read_text().endswith(tables()), "run: python -m tests.e2e.examples_document"
