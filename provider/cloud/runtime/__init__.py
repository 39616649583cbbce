"""What runs containers: the contract, a simulated runtime, the Docker engine."""
