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

{{- define "codegemma.checkEdge" -}}
{{- with .Values.edge }}
{{- if and .ingress.enabled (not .ingress.host) }}
{{- fail "edge.ingress.host is empty: name the host that clients use, as in edge.ingress.host=code.example.com." }}
{{- end }}
{{- if and .ingress.enabled (not .ingress.tlsSecret) }}
{{- fail "edge.ingress.tlsSecret is empty: API keys must not travel in the clear. Name the certificate's secret; with edge.ingress.clusterIssuer, cert-manager creates it." }}
{{- end }}
{{- if .gatewayApi.enabled }}
{{- $gateway := .gatewayApi.gateway }}
{{- if not (or .gatewayApi.parentRefs $gateway.create) }}
{{- fail "edge.gatewayApi.parentRefs is empty: name the Gateway to attach to, as in [{name: my-gateway, namespace: edge}], or have one made by edge.gatewayApi.gateway.create=true." }}
{{- end }}
{{- if and $gateway.create (or (not $gateway.className) (not $gateway.tlsSecret)) }}
{{- fail (printf "edge.gatewayApi.gateway: className=%q and tlsSecret=%q must both be set: name a class of `kubectl get gatewayclass`, and the certificate's secret, which cert-manager makes with edge.gatewayApi.gateway.clusterIssuer." $gateway.className $gateway.tlsSecret) }}
{{- end }}
{{- $both := list }}
{{- range .gatewayApi.httpHostnames }}{{ if has . $.Values.edge.gatewayApi.grpcHostnames }}{{ $both = append $both . }}{{ end }}{{ end }}
{{- if or $both (not .gatewayApi.httpHostnames) (not .gatewayApi.grpcHostnames) }}
{{- fail (printf "edge.gatewayApi: httpHostnames=%v and grpcHostnames=%v must both be set and differ: a listener need not accept an HTTPRoute and a GRPCRoute for one name." .gatewayApi.httpHostnames .gatewayApi.grpcHostnames) }}
{{- end }}
{{- end }}
{{- $fromOutside := false }}
{{- range $.Values.networkPolicy.clients }}{{ if hasKey . "ipBlock" }}{{ $fromOutside = true }}{{ end }}{{ end }}
{{- if and (or .ingress.enabled .gatewayApi.enabled) $.Values.networkPolicy.enabled (not .controllerNamespace) (not $fromOutside) }}
{{- fail "edge.controllerNamespace is empty, so networkPolicy would keep the Gateway or the ingress controller out. Name the namespace of its pods, as in edge.controllerNamespace=envoy-gateway-system. If it has no pods, as a cloud's load balancer, add its addresses to networkPolicy.clients, as in [{ipBlock: {cidr: 10.0.0.0/8}}]." }}
{{- end }}
{{- if and .certificate.enabled (or (not .certificate.secretName) (not .certificate.dnsNames) (not .certificate.issuerRef.name)) }}
{{- fail (printf "edge.certificate: secretName=%q, dnsNames=%v and issuerRef.name=%q must all be set for cert-manager to make a certificate." .certificate.secretName .certificate.dnsNames .certificate.issuerRef.name) }}
{{- end }}
{{- if and .envoy.enabled (not .envoy.tlsSecret) }}
{{- fail "edge.envoy.tlsSecret is empty: name a secret with tls.crt and tls.key; edge.certificate can make it." }}
{{- end }}
{{- end }}
{{- end }}
