{{- /* A second release that gets a share of the requests. */}}

{{- /* Where a route leads: takes a dict of root, kind (http or grpc) and port. */}}
{{- define "codegemma.backendRefs" -}}
{{- $canary := .root.Values.edge.gatewayApi.canary }}
- name: {{ include "codegemma.fullname" .root }}-{{ .kind }}
  port: {{ .port }}
  {{- if $canary.name }}
  weight: {{ sub 100 $canary.weight }}
- name: {{ $canary.name }}-{{ .kind }}
  port: {{ .port }}
  weight: {{ $canary.weight }}
  {{- end }}
{{- end }}

{{- define "codegemma.checkCanary" -}}
{{- with .Values.edge.gatewayApi.canary }}
{{- if and .weight (not .name) }}
{{- fail (printf "edge.gatewayApi.canary.weight=%v, but edge.gatewayApi.canary.name is empty: there is nothing to send requests to. Name the other release, such as edge.gatewayApi.canary.name=codegemma-canary, or set weight to 0." .weight) }}
{{- end }}
{{- if and .name (not $.Values.edge.gatewayApi.enabled) }}
{{- fail (printf "edge.gatewayApi.canary.name=%s, but edge.gatewayApi.enabled=false: only routes of the Gateway API have weights. Set it to true, or remove the name." .name) }}
{{- end }}
{{- if eq .name (include "codegemma.fullname" $) }}
{{- fail (printf "edge.gatewayApi.canary.name=%s is this release itself. Name the other one: the canary is set in the release that has the routes." .name) }}
{{- end }}
{{- if .name }}
{{- with lookup "v1" "Service" $.Release.Namespace "" }}{{- /* empty without a cluster */}}
{{- $there := list }}
{{- range .items }}{{ $there = append $there .metadata.name }}{{ end }}
{{- range list "http" "grpc" }}
{{- $service := printf "%s-%s" $.Values.edge.gatewayApi.canary.name . }}
{{- if not (has $service $there) }}
{{- fail (printf "edge.gatewayApi.canary.name=%s, but namespace %s has no Service %s: its share of the requests would fail. Install that release first, or correct the name, which is the full name of that release." $.Values.edge.gatewayApi.canary.name $.Release.Namespace $service) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
