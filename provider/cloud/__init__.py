"""The cloud side of the line: stock, addresses, instances, runtime. It does not know Kubernetes."""
