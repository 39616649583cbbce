"""Stock of a zone: a pure ledger."""
