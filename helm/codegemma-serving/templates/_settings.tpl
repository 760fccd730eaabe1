{{- /* Pod settings from the values, for every pod or for those of one component. */}}

{{- /* Labels of a pod: takes a dict of root, component and, if the component has its own settings, settings. */}}
{{- define "codegemma.podLabels" -}}
{{ include "codegemma.selector" . }}
{{- with merge (dict) ((.settings | default dict).podLabels | default dict) .root.Values.podLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- /* Annotations of a pod: takes a dict of root, settings and own, those that the chart needs (a dict). */}}
{{- define "codegemma.podAnnotations" -}}
{{- $settings := .settings | default dict }}
{{- with merge (dict) (.own | default dict) ($settings.podAnnotations | default dict) .root.Values.podAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- /* affinity and runtimeClassName of a pod: takes a dict of the settings of a component and, where the chart keeps pods
apart, affinity: its podAntiAffinity, to which the values' terms are added. */}}
{{- define "codegemma.podPlace" -}}
{{- with .settings.runtimeClassName }}
runtimeClassName: {{ . }}
{{- end }}
{{- $affinity := deepCopy (.settings.affinity | default dict) }}
{{- with .affinity }}
{{- $own := . | fromYaml }}
{{- $anti := $affinity.podAntiAffinity | default dict }}
{{- $key := "requiredDuringSchedulingIgnoredDuringExecution" }}
{{- $_ := set $anti $key (concat (get $own.podAntiAffinity $key) (get $anti $key | default list)) }}
{{- $_ := set $affinity "podAntiAffinity" $anti }}
{{- end }}
{{- with $affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "codegemma.pullSecrets" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end }}

{{- /* The account of Gateways and groups. */}}
{{- define "codegemma.workerAccount" -}}
{{- .Values.serviceAccount.name | default (printf "%s-worker" (include "codegemma.fullname" .)) }}
{{- end }}

{{- /* The account to which KubeRay binds the autoscaler's role. */}}
{{- define "codegemma.headAccount" -}}
{{- .Values.serviceAccount.headName | default (printf "%s-head" (include "codegemma.fullname" .)) }}
{{- end }}
