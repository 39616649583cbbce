"""`python -m tests.compatibility`: compares statuses and writes docs/compatibility.md, with date and commit.

It brings up a cluster of its own with one virtual and one stock node, and takes it down again. `--only` runs some of
the cases, and prints instead of writing. `--mutations` runs the mutated pods instead: it writes the document's part about
them, and keeps the verdicts; an end-to-end test holds virtual nodes to the stock node's.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path

from tests.compatibility.cases import CASES
from tests.compatibility.lab import campaign, compared, versions
from tests.compatibility.mutation_report import VERDICTS, joined, mutation_part, section
from tests.compatibility.mutations import MUTATIONS
from tests.compatibility.report import document
from tests.support.installation import installed
from tests.support.names import own_name

TARGET = Path("docs/compatibility.md")


def main() -> None:
    """Parse the command line, run, write."""
    parser = argparse.ArgumentParser(prog="python -m tests.compatibility", description=__doc__)
    parser.add_argument("--only", default="", help="a pattern of cases' names")
    parser.add_argument("--raw", type=Path, help="a file for the pods themselves, as JSON")
    parser.add_argument("--mutations", action="store_true", help="run the mutated pods instead")
    given = parser.parse_args()
    if given.mutations:
        _mutations(given.only)
        return
    chosen = [case for case in CASES if re.search(given.only, case.name)]
    with installed(own_name("compat"), argo=False, stock=True) as lab:
        results = asyncio.run(compared(lab, chosen))
        kubelet, runtime = asyncio.run(versions(lab))
    if given.raw is not None:
        pods = {each.case.name: {"stock": each.stock, "virtual": each.virtual, "late": each.late} for each in results}
        given.raw.write_text(json.dumps(pods))
    taken = f"{datetime.now(UTC):%Y-%m-%d}, commit {_commit()}"
    text = document(results, taken, kubelet, runtime)
    if given.only:
        print(text)
    else:
        TARGET.write_text(joined(text, mutation_part(TARGET.read_text())))
        print(f"{TARGET}: {len(results)} pods")


def _mutations(only: str) -> None:
    """Run the chosen mutations; the verdicts on the others are those of the run before."""
    chosen = [each for each in MUTATIONS if re.search(only, each.name)]
    with installed(own_name("compat"), argo=False, stock=True) as lab:
        stock, virtual = asyncio.run(campaign(lab, chosen))
    before = json.loads(VERDICTS.read_text()) if only else {"stock": {}, "virtual": {}}
    kept = {"stock": before["stock"] | stock, "virtual": before["virtual"] | virtual}
    part = section(MUTATIONS, kept["stock"], kept["virtual"], f"{datetime.now(UTC):%Y-%m-%d}, commit {_commit()}")
    TARGET.write_text(joined(TARGET.read_text(), part))
    VERDICTS.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n")
    print(f"{TARGET}: {len(chosen)} mutations")


def _commit() -> str:
    run = ["git", "describe", "--always", "--dirty=*", "--exclude=*"]
    return subprocess.run(run, check=True, capture_output=True, text=True).stdout.strip()


if __name__ == "__main__":
    main()
