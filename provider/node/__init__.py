"""The virtual nodes: their shape (pure), registration, heartbeat, serving certificates."""
