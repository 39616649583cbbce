"""The command zonelet."""
