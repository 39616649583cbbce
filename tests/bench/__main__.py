"""`make bench`: this project against raw Docker API calls that make the same containers, interleaved in one run.

Rounds alternate between the two, on one engine and one machine, with the control plane up and idle in both. The
simulated runtime is measured at the end: 1,000 pods, through the same API server and scheduler.
"""

from __future__ import annotations

NAME = "zlbench"
RAW_IN_FLIGHT = 4
