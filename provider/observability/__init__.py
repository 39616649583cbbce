"""Logging, metrics, tracing, and the story of one pod."""
