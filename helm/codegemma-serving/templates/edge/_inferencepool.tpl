{{- define "codegemma.checkInferencePool" -}}
{{- with .Values.edge.gatewayApi }}
{{- if and .inferencePool.enabled (not .enabled) }}
{{- fail "edge.gatewayApi.inferencePool.enabled=true, but edge.gatewayApi.enabled=false: no route leads to the pool. Set both, or neither." }}
{{- end }}
{{- if and .inferencePool.enabled (not .inferencePool.endpointPicker.name) }}
{{- fail "edge.gatewayApi.inferencePool.endpointPicker.name is empty: an endpoint picker chooses a pod of the pool. Name the Service of the one that runs for this pool, in this namespace, or set edge.gatewayApi.inferencePool.enabled=false." }}
{{- end }}
{{- if and .inferencePool.enabled .canary.name }}
{{- fail (printf "edge.gatewayApi.inferencePool.enabled=true and edge.gatewayApi.canary.name=%s: the picker chooses the pod, so the weight would apply to some requests only. Leave one of them." .canary.name) }}
{{- end }}
{{- end }}
{{- end }}
