"""The gRPC services that this server answers; imports nothing, as HAProxy must start fast."""

GRPC_SERVICES = (
    "codegemma.v1.CodeAssistService",
    "codegemma.v1.FeedbackService",
    "codegemma.v1.ModelService",
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
)
