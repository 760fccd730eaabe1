{{- /* Rules of egress that more than one policy has. */}}

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
