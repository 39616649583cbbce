"""Pure value types that both sides of the line share: no I/O, no clock, no Kubernetes client."""
