"""Stream protocols between the API server and the kubelet port."""
