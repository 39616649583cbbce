"""Base of every struct that is read from the API server's JSON."""

from __future__ import annotations

from msgspec import Struct


class ApiObject(Struct, frozen=True, rename="camel", kw_only=True, omit_defaults=True):
    """What the API server sends; unknown keys are dropped at decoding, admission has looked for them before."""
