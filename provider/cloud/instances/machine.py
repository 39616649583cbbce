"""The instance's state machine: pure."""
