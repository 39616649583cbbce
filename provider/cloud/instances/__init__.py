"""Instances: the state machine (pure), the supervisor that feeds it, the journal."""
