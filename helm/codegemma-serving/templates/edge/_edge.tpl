{{- /* The Gateways that routes attach to: the chart's own and those of the values. */}}
{{- define "codegemma.parentRefs" -}}
{{- $refs := .Values.edge.gatewayApi.parentRefs }}
{{- if .Values.edge.gatewayApi.gateway.create }}
{{- $refs = prepend $refs (dict "name" (include "codegemma.fullname" .)) }}
{{- end }}
{{- toYaml $refs }}
{{- end }}

{{- /* The gRPC services that the Gateway answers, as a JSON list. */}}
{{- define "codegemma.grpcServices" -}}
{{- list "codegemma.v1.CodeAssistService" "codegemma.v1.FeedbackService" "codegemma.v1.ModelService" "grpc.health.v1.Health" "grpc.reflection.v1.ServerReflection" "grpc.reflection.v1alpha.ServerReflection" | toJson }}
{{- end }}
