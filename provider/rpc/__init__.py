"""The only importer of grpc: the elastic API served and called over gRPC."""
