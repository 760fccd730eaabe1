"""The gRPC contract of codegemma-serving."""
