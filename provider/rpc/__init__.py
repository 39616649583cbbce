"""The only importer of grpc: the elastic API served and called over gRPC."""

import os

# gRPC's core writes to stderr on its own, also what it tells its caller; read once, when it is imported.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
