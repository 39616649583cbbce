"""zonelet: virtual Kubernetes nodes, one per zone, whose pods are Docker containers that act as elastic instances."""
