"""Containers on a Docker engine: the Engine API port and the HostOps port."""
