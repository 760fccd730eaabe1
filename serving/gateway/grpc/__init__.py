"""The gRPC side of the Gateway: `codegemma.v1`, health and reflection."""
