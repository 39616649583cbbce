"""What zonelet up builds or joins: the from-source local cluster, or the one of the current kubeconfig."""
