{{- define "codegemma.fullname" -}}
{{- if contains "codegemma" .Release.Name }}{{ .Release.Name }}{{ else }}{{ printf "%s-codegemma" .Release.Name }}{{ end }}
{{- end }}

{{- /* What selects the pods of one part: takes a dict of root and component. Not by app.kubernetes.io/name, which is
KubeRay's own on pods of Ray: the Services that it makes select by that. */}}
{{- define "codegemma.selector" -}}
app.kubernetes.io/part-of: codegemma-serving
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- with .component }}
app.kubernetes.io/component: {{ . }}
{{- end }}
{{- end }}

{{- /* Labels of an object: takes a dict of root and, where it belongs to one, component. */}}
{{- define "codegemma.labels" -}}
app.kubernetes.io/name: codegemma-serving
{{ include "codegemma.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end }}

{{- /* Name, namespace and labels: takes a dict of root, suffix and, where it belongs to one, component. */}}
{{- define "codegemma.metadata" -}}
name: {{ include "codegemma.fullname" .root }}{{ with .suffix }}-{{ . }}{{ end }}
namespace: {{ .root.Release.Namespace }}
labels:
  {{- include "codegemma.labels" . | nindent 2 }}
{{- end }}

{{- /* The image for an accelerator: takes a dict of root and accelerator. */}}
{{- define "codegemma.image" -}}
{{- $image := .root.Values.image -}}
{{ $image.repository }}:{{ default .root.Chart.AppVersion $image.tag }}-{{ .accelerator | splitList "-" | first }}
{{- end }}

{{- define "codegemma.priorityClass" -}}
{{- with .Values.priorityClass }}{{ if .name }}{{ .name }}{{ else if .create }}{{ include "codegemma.fullname" $ }}{{ end }}{{ end }}
{{- end }}
