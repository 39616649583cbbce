"""Pod to InstanceRequest, or a Rejection: pure."""
