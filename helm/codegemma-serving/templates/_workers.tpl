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

{{- /* The worker group for a model of one TPU host; empty if none fits. A dict of workers and model. libtpu wants chips
that are a slice; of a larger host Ray hands out whichever are free, and says how they lie for one or two only. */}}
{{- define "codegemma.sliceGroup" -}}
{{- $chips := .model.topology.chips_per_host | default 1 | int }}
{{- $exact := "" }}
{{- $shared := "" }}
{{- range .workers }}
{{- if eq .accelerator $.model.topology.accelerator }}
{{- $shape := include "codegemma.shape" . | fromJson }}
{{- if and (eq (int $shape.hosts) 1) (eq (int $shape.chips) $chips) }}{{ $exact = $exact | default .name }}{{ end }}
{{- if and (eq (int $shape.hosts) 1) (eq $chips 1) }}{{ $shared = $shared | default .name }}{{ end }}
{{- end }}
{{- end }}
{{- $exact | default $shared }}
{{- end }}

{{- /* The resource of which a pod of a TPU worker group has one for each chip: to Ray, all TPU chips are alike. */}}
{{- define "codegemma.sliceResource" -}}
codegemma-workers-{{ . }}
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
{{- if eq .topology "2x4" }}
# Such a slice is one machine of eight chips, or two of four.
cloud.google.com/gke-accelerator-count: {{ (include "codegemma.shape" . | fromJson).chipsPerHost | quote }}
{{- end }}
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
