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

{{- /* The worker groups as a JSON list. With highAvailability, minReplicas has room for two groups of each model. */}}
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

{{- /* Pods or slices that a voluntary disruption leaves running; 0 for no budget. */}}
{{- define "codegemma.minAvailable" -}}
{{- if kindIs "invalid" .minAvailable }}{{ max 0 (sub .minReplicas 1) }}{{ else }}{{ .minAvailable }}{{ end }}
{{- end }}

{{- /* The worker group whose pods a model's groups fit; empty if none. A dict of workers and model. libtpu needs chips
that form a slice: on a larger host Ray assigns any free chips, and sets their topology for one or two only. */}}
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

{{- /* A custom resource, one for each chip, that tells TPU worker groups apart: to Ray, all TPU chips are alike. */}}
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
# A 2x4 slice is one machine of eight chips, or two of four.
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

{{- define "codegemma.checkWorkers" -}}
{{- $names := list "gateway" }}
{{- range .Values.workers }}
{{- if has .name $names }}
{{- fail (printf "workers: the name %s is taken%s. Give each worker group its own." .name (eq .name "gateway" | ternary " by the Gateways' group" "")) }}
{{- end }}
{{- $names = append $names .name }}
{{- if gt (int .minReplicas) (int .maxReplicas) }}
{{- fail (printf "workers.%s.minReplicas=%v is above maxReplicas=%v. Lower one or raise the other." .name .minReplicas .maxReplicas) }}
{{- end }}
{{- if and .topology (not (hasPrefix "tpu" .accelerator)) }}
{{- fail (printf "workers.%s.topology=%s: only TPUs come in slices, and accelerator=%s. Remove topology; chipsPerHost says how many a pod has." .name .topology .accelerator) }}
{{- end }}
{{- if and .gpuType (ne .accelerator "gpu") }}
{{- fail (printf "workers.%s.gpuType=%s, but accelerator=%s. Remove gpuType, or set accelerator=gpu." .name .gpuType .accelerator) }}
{{- end }}
{{- if hasPrefix "tpu" .accelerator }}
{{- include "codegemma.checkSlice" . }}
{{- end }}
{{- end }}
{{- range include "codegemma.workers" . | fromJsonArray }}
{{- $least := include "codegemma.minAvailable" . | int }}
{{- if and (gt $least 0) (ge $least (int .minReplicas)) }}
{{- fail (printf "workers.%s.minAvailable=%d is not below minReplicas=%v: no node with such a pod could ever be drained. Lower it, or leave it out." .name $least .minReplicas) }}
{{- end }}
{{- end }}
{{- end }}

{{- define "codegemma.checkSlice" -}}
{{- if not .topology }}
{{- fail (printf "workers.%s.topology is missing: a slice has a shape, such as 1x1, 2x2, 2x4 or 4x4." .name) }}
{{- end }}
{{- $shape := include "codegemma.shape" . | fromJson }}
{{- $perHost := int $shape.chipsPerHost }}
{{- if not (has $perHost (list 1 4 8)) }}
{{- fail (printf "workers.%s.chipsPerHost=%d: a v5e host has 1, 4 or 8 chips." .name $perHost) }}
{{- end }}
{{- if and (eq $perHost 8) (ne .topology "2x4") }}
{{- fail (printf "workers.%s.chipsPerHost=8 does not fit topology=%s: a host of eight chips is a slice 2x4. Remove chipsPerHost, or set topology=2x4." .name .topology) }}
{{- end }}
{{- if or (gt $perHost (int $shape.chips)) (and (lt $perHost (int $shape.chips)) (ne $perHost 4)) }}
{{- fail (printf "workers.%s.chipsPerHost=%d does not fit topology=%s of %d chips: one host has all of them, or several have 4 each." .name $perHost .topology (int $shape.chips)) }}
{{- end }}
{{- end }}

{{- /* Each model needs a worker group that can hold one of its groups. */}}
{{- define "codegemma.checkTopologies" -}}
{{- range $model := .Values.serving.models }}
{{- $topology := $model.topology | default dict }}
{{- $accelerator := $topology.accelerator | default "cpu" }}
{{- $chips := $topology.chips_per_host | default 1 | int }}
{{- $hosts := $topology.hosts | default 1 | int }}
{{- $offered := list }}
{{- range $.Values.workers }}
{{- $shape := include "codegemma.shape" . | fromJson }}
{{- $offered = append $offered (printf "%s (%s, %v x %v chips)" .name .accelerator $shape.hosts $shape.chipsPerHost) }}
{{- end }}
{{- $found := include "codegemma.workerGroup" (dict "workers" $.Values.workers "model" $model) }}
{{- if and (not $found) (hasPrefix "tpu" $accelerator) (eq $hosts 1) (gt $chips 1) }}
{{- fail (printf "serving.models %s needs a slice of %d chips on one host for each group, which no worker group offers: %d chips of a larger host need not be a slice. workers has: %s. Add a worker group of topology %s, or change the model's topology." $model.id $chips $chips (join ", " $offered | default "none") (eq $chips 4 | ternary "2x2" "2x4 with chipsPerHost 8")) }}
{{- end }}
{{- if not $found }}
{{- fail (printf "serving.models %s needs %d host(s) x %d of %s, which no worker group offers. workers has: %s. Add one to workers, or change the model's topology." $model.id $hosts $chips $accelerator (join ", " $offered | default "none")) }}
{{- end }}
{{- end }}
{{- end }}
