{{- /* Egress rules that more than one policy has, and the check of those in the values. */}}

{{- define "codegemma.egressToResolvers" -}}
{{- with .Values.networkPolicy.egress.dns -}}
to:
  {{- toYaml .peers | nindent 2 }}
ports:
  {{- range .ports }}
  - {protocol: UDP, port: {{ . }}}
  - {protocol: TCP, port: {{ . }}}
  {{- end }}
{{- end }}
{{- end }}

{{- define "codegemma.egressToMetadataServer" -}}
{{- with .Values.networkPolicy.egress.metadataServer -}}
to:
  {{- toYaml .peers | nindent 2 }}
ports:
  {{- range .ports }}
  - {protocol: TCP, port: {{ . }}}
  {{- end }}
{{- end }}
{{- end }}

{{- /* Destinations that the service needs and only networkPolicy.egress.rules can allow. */}}
{{- define "codegemma.checkEgress" -}}
{{- $egress := .Values.networkPolicy.egress }}
{{- if and .Values.networkPolicy.enabled $egress.enabled (not $egress.rules) }}
{{- $gateway := .Values.serving.gateway | default dict }}
{{- $needs := list }}
{{- with .Values.models.volume.gcsFuse.bucket }}{{ $needs = append $needs (printf "models.volume.gcsFuse.bucket=%s" .) }}{{ end }}
{{- range .Values.models.volume.copy.buckets }}{{ $needs = append $needs (printf "models.volume.copy.buckets %s" .bucket) }}{{ end }}
{{- with .Values.gcs.redis.address }}{{ $needs = append $needs (printf "gcs.redis.address=%s" .) }}{{ end }}
{{- with ($gateway.quotas | default dict).redis }}{{ $needs = append $needs (printf "serving.gateway.quotas.redis=%s" .) }}{{ end }}
{{- range $gateway.issuers }}{{ $needs = append $needs (printf "serving.gateway.issuers %s" .issuer) }}{{ end }}
{{- with $needs }}
{{- fail (printf "networkPolicy.egress.enabled=true, but networkPolicy.egress.rules is empty: no pod could reach %s. Add a rule for it, as in networkPolicy.egress.rules=[{to: [{podSelector: {matchLabels: {app: redis}}}], ports: [{port: 6379}]}], or leave networkPolicy.egress.enabled at false." (join ", " .)) }}
{{- end }}
{{- end }}
{{- end }}
