"""Version 1 of the gRPC contract: stubs generated from the .proto files next to them."""
