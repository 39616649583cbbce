"""Writes docs/examples.md: which of upstream's examples tests/e2e runs, and why it does not run the others.

python -m tests.e2e.examples_document
"""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from pathlib import Path

from provider.clock import SystemClock
from tests.e2e.examples import EXAMPLES
from tests.e2e.left_out import LEFT_OUT

__all__ = ["DOCUMENT", "tables"]

DOCUMENT = Path("docs/examples.md")


def tables() -> str:
    """Return the document without its first lines, which have date and commit."""
    run = [f"| {each.file} | {each.phase or 'runs until it is ended'} |" for each in sorted(EXAMPLES, key=_file)]
    left = [f"| {file} | {reason} |" for file, reason in sorted(LEFT_OUT.items())]
    return "\n".join(
        [
            f"## Run, unmodified ({len(run)})",
            "",
            "Each has to end in this phase; what else is asked of it (output, nodes, number of pods) stands in",
            "tests/e2e/examples.py.",
            "",
            "| file | phase |",
            "|---|---|",
            *run,
            "",
            f"## Left out ({len(left)})",
            "",
            "| file | why |",
            "|---|---|",
            *left,
            "",
        ]
    )


def _file(example: object) -> str:
    return str(getattr(example, "file", ""))


def main() -> None:
    """Write it."""
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty=*", "--exclude=*"], check=True, capture_output=True, text=True
    ).stdout.strip()
    today = datetime.fromtimestamp(SystemClock().now(), UTC)
    head = (
        "# Argo's example workflows\n\n"
        f"Written by `python -m tests.e2e.examples_document` on {today:%Y-%m-%d}, commit {commit}. The files\n"
        "are those of the Argo Workflows module that deploy/local pins, byte for byte; `make test-e2e` runs them.\n\n"
    )
    DOCUMENT.write_text(head + tables())


if __name__ == "__main__":
    main()
