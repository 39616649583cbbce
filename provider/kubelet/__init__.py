"""The HTTPS port that the API server calls: logs, exec, pods, healthz."""
