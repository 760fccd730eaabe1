{{- /* The slice of a TPU worker group as JSON: chips, chipsPerHost, hosts. Other accelerators have one host. */}}
{{- define "codegemma.shape" -}}
{{- $chips := .chipsPerHost | default 1 | int }}
{{- $perHost := $chips }}
{{- if hasPrefix "tpu" .accelerator }}
{{- $sides := splitList "x" .topology }}
{{- $chips = mul (index $sides 0) (index $sides 1) }}
{{- $perHost = .chipsPerHost | default (min $chips 4) | int }}
{{- end }}
{{- dict "chips" $chips "chipsPerHost" $perHost "hosts" (div $chips $perHost) | toJson }}
{{- end }}

{{- /* Groups of workers that a voluntary disruption must leave; 0 for no budget. */}}
{{- define "codegemma.minAvailable" -}}
{{- if kindIs "invalid" .minAvailable }}{{ max 0 (sub .minReplicas 1) }}{{ else }}{{ .minAvailable }}{{ end }}
{{- end }}

{{- /* Extended resources of one pod of a worker group. */}}
{{- define "codegemma.acceleratorResources" -}}
{{- $shape := include "codegemma.shape" . | fromJson }}
{{- if hasPrefix "tpu" .accelerator }}
google.com/tpu: {{ $shape.chipsPerHost }}
{{- else if eq .accelerator "gpu" }}
nvidia.com/gpu: {{ $shape.chipsPerHost }}
{{- end }}
{{- end }}

{{- define "codegemma.acceleratorNodes" -}}
{{- if hasPrefix "tpu" .accelerator }}
cloud.google.com/gke-tpu-accelerator: tpu-v5-lite-podslice
cloud.google.com/gke-tpu-topology: {{ .topology }}
{{- else if .gpuType }}
cloud.google.com/gke-accelerator: {{ .gpuType }}
{{- end }}
{{- end }}

{{- define "codegemma.acceleratorTolerations" -}}
{{- if hasPrefix "tpu" .accelerator }}
- {key: google.com/tpu, operator: Exists, effect: NoSchedule}
{{- else if eq .accelerator "gpu" }}
- {key: nvidia.com/gpu, operator: Exists, effect: NoSchedule}
{{- end }}
{{- end }}
