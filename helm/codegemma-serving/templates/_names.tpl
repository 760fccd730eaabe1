{{- define "codegemma.fullname" -}}
{{- if .Values.fullnameOverride }}{{ .Values.fullnameOverride }}{{ else if contains "codegemma" .Release.Name }}{{ .Release.Name }}{{ else }}{{ printf "%s-codegemma" .Release.Name }}{{ end }}
{{- end }}

{{- /* Selects the pods of one component: takes a dict of root and component. Without app.kubernetes.io/name, which KubeRay
sets on Ray's pods and selects by in its own Services. */}}
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
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- /* Name, namespace, annotations and labels, in that order, so that labels can be added: takes a dict of root, suffix or
a whole name and, where it has them, component and annotations (a dict). */}}
{{- define "codegemma.metadata" -}}
name: {{ with .name }}{{ . }}{{ else }}{{ include "codegemma.fullname" .root }}{{ with .suffix }}-{{ . }}{{ end }}{{ end }}
namespace: {{ .root.Release.Namespace }}
{{ include "codegemma.annotationsAndLabels" . | trim }}
{{- end }}

{{- /* Annotations and labels, as of an object without a namespace: takes what codegemma.metadata takes. */}}
{{- define "codegemma.annotationsAndLabels" }}
{{- with merge (deepCopy (.annotations | default dict)) .root.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
labels:
  {{- include "codegemma.labels" . | nindent 2 }}
{{- end }}

{{- /* The image flavor for an accelerator: takes a dict of root and accelerator. */}}
{{- define "codegemma.flavor" -}}
{{- $kind := .accelerator | splitList "-" | first -}}
{{ and (eq $kind "cpu") .root.Values.image.demo | ternary "demo" $kind }}
{{- end }}

{{- /* The image for an accelerator: takes a dict of root and accelerator. */}}
{{- define "codegemma.image" -}}
{{- $image := .root.Values.image -}}
{{- $flavor := include "codegemma.flavor" . -}}
{{ $image.repository }}:{{ default .root.Chart.AppVersion $image.tag }}-{{ $flavor }}{{ with get $image.digests $flavor }}@{{ . }}{{ end }}
{{- end }}

{{- /* A PriorityClass has no namespace: two releases of one name in two namespaces need two names. */}}
{{- define "codegemma.priorityClass" -}}
{{- with .Values.priorityClass }}
{{- if .name }}{{ .name }}{{ else if .create }}{{ $.Release.Namespace }}-{{ include "codegemma.fullname" $ }}{{ end }}
{{- end }}
{{- end }}
