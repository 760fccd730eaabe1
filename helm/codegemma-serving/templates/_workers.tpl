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

{{- /* The worker groups as a JSON list. With highAvailability, their least numbers hold two groups of each model. */}}
{{- define "codegemma.workers" -}}
{{- $workers := list }}
{{- range .Values.workers }}
{{- $name := .name }}
{{- $least := int .minReplicas }}
{{- if $.Values.highAvailability.enabled }}
{{- $chips := 0 }}
{{- range $.Values.serving.models }}
{{- if eq (include "codegemma.workerGroup" (dict "workers" $.Values.workers "model" .)) $name }}
{{- $chips = add $chips (mul 2 ((.topology | default dict).chips_per_host | default 1)) }}
{{- end }}
{{- end }}
{{- if $chips }}
{{- $perPod := eq .accelerator "cpu" | ternary $chips (include "codegemma.shape" . | fromJson).chipsPerHost | int }}
{{- $least = max $least 2 (div (add $chips $perPod -1) $perPod) }}
{{- end }}
{{- end }}
{{- $workers = append $workers (merge (dict "minReplicas" $least "maxReplicas" (max $least (int .maxReplicas))) .) }}
{{- end }}
{{- toJson $workers }}
{{- end }}

{{- /* Groups of workers that a voluntary disruption must leave; 0 for no budget. */}}
{{- define "codegemma.minAvailable" -}}
{{- if kindIs "invalid" .minAvailable }}{{ max 0 (sub .minReplicas 1) }}{{ else }}{{ .minAvailable }}{{ end }}
{{- end }}

{{- /* The worker group whose pods a model's groups fit; empty if none. A dict of workers and model. libtpu wants chips
that are a slice: of a larger host Ray hands out whichever are free, and says how they lie for one or two only. */}}
{{- define "codegemma.workerGroup" -}}
{{- $topology := .model.topology | default dict }}
{{- $accelerator := $topology.accelerator | default "cpu" }}
{{- $chips := $topology.chips_per_host | default 1 | int }}
{{- $hosts := $topology.hosts | default 1 | int }}
{{- $exact := "" }}
{{- $larger := "" }}
{{- range .workers }}
{{- $shape := include "codegemma.shape" . | fromJson }}
{{- if and (eq .accelerator $accelerator) (or (eq $accelerator "cpu") (eq (int $shape.hosts) $hosts)) }}
{{- $same := or (eq $accelerator "cpu") (eq (int $shape.chipsPerHost) $chips) }}
{{- $shared := and (eq $hosts 1) (or (eq $accelerator "gpu") (eq $chips 1)) (gt (int $shape.chipsPerHost) $chips) }}
{{- if $same }}{{ $exact = $exact | default .name }}{{ else if $shared }}{{ $larger = $larger | default .name }}{{ end }}
{{- end }}
{{- end }}
{{- $exact | default $larger }}
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
