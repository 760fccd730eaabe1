{{- /* The two kinds of worker pods: _pod.tpl's workerPod with the settings of each. */}}

{{- define "codegemma.gatewayPorts" -}}
- {name: serve, containerPort: 8000}
- {name: grpc, containerPort: 9000}
- {name: haproxy-metrics, containerPort: 9101}
{{- end }}

{{- /* Ready when both ports answer: two requests, so a program makes them. */}}
{{- define "codegemma.gatewayReadiness" -}}
exec:
  command: [python, /etc/codegemma/scripts/ready.py, "8000", "9000"]
periodSeconds: 10
timeoutSeconds: 8
failureThreshold: 2
{{- end }}

{{- define "codegemma.gatewaySpread" -}}
{{- if .Values.highAvailability.enabled }}
{{- include "codegemma.twoMachines" (dict "root" . "component" "gateway" "replicas" .Values.gateway.minReplicas) }}
{{- end }}
{{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
- maxSkew: 1
  topologyKey: {{ . }}
  whenUnsatisfiable: ScheduleAnyway
  labelSelector:
    matchLabels:
      {{- include "codegemma.selector" (dict "root" $ "component" "gateway") | nindent 6 }}
{{- end }}
{{- end }}

{{- define "codegemma.keysMount" -}}
{{- if .Values.auth.existingSecret }}
# A directory, not one file of it: a change of the secret then reaches the pod.
- {name: keys, mountPath: /etc/codegemma/keys, readOnly: true}
{{- end }}
{{- end }}

{{- define "codegemma.keysVolume" -}}
{{- if .Values.auth.existingSecret }}
- name: keys
  secret: {secretName: {{ .Values.auth.existingSecret }}}
{{- end }}
{{- end }}

{{- define "codegemma.quotasEnvironment" -}}
{{- with .Values.quotas.redis.passwordSecret }}
{{- if .name }}
- name: CODEGEMMA_QUOTAS_REDIS_PASSWORD
  valueFrom:
    secretKeyRef: {name: {{ .name }}, key: {{ .key }}}
{{- end }}
{{- end }}
{{- end }}

{{- define "codegemma.gatewayPod" -}}
{{- $pod := dict "root" . "component" "gateway" "accelerator" "cpu" "settings" .Values.gateway }}
{{- $_ := set $pod "ephemeralStorage" .Values.gateway.ephemeralStorage }}
{{- $_ := set $pod "cpu" .Values.gateway.cpu }}
{{- $_ := set $pod "memory" .Values.gateway.memory }}
{{- $_ := set $pod "ports" (include "codegemma.gatewayPorts" .) }}
{{- $_ := set $pod "readiness" (include "codegemma.gatewayReadiness" .) }}
{{- $_ := set $pod "annotations" (include "codegemma.modelAnnotations" . | trim) }}
{{- $_ := set $pod "initContainers" (include "codegemma.modelInitContainers" (dict "root" . "tokenizersOnly" true) | trim) }}
{{- $_ := set $pod "volumeMounts" (list (include "codegemma.modelMounts" . | trim) (include "codegemma.keysMount" . | trim) | compact | join "\n") }}
{{- $_ := set $pod "volumes" (list (include "codegemma.modelVolumes" . | trim) (include "codegemma.keysVolume" . | trim) | compact | join "\n") }}
{{- $_ := set $pod "spread" (include "codegemma.gatewaySpread" . | trim) }}
{{- with include "codegemma.quotasEnvironment" . | trim }}{{ $_ := set $pod "env" . }}{{ end }}
{{- with .Values.gateway.nodeSelector }}{{ $_ := set $pod "nodeSelector" (toYaml .) }}{{ end }}
{{- with .Values.gateway.tolerations }}{{ $_ := set $pod "tolerations" (toYaml .) }}{{ end }}
{{- include "codegemma.workerPod" $pod }}
{{- end }}

{{- /* Groups of models: takes a dict of root, worker (an entry of .Values.workers) and its shape. */}}
{{- define "codegemma.modelPod" -}}
{{- $worker := .worker }}
{{- $pod := dict "root" .root "component" "worker" "accelerator" $worker.accelerator "settings" $worker }}
{{- $_ := set $pod "ephemeralStorage" $worker.ephemeralStorage }}
{{- $_ := set $pod "cpu" $worker.cpu }}
{{- $_ := set $pod "memory" $worker.memory }}
{{- $_ := set $pod "extended" (include "codegemma.acceleratorResources" $worker | trim) }}
{{- $_ := set $pod "env" (list (include "codegemma.acceleratorEnvironment" . | trim) (include "codegemma.executablesEnvironment" .root | trim) | compact | join "\n") }}
{{- if eq $worker.accelerator "gpu" }}{{ $_ := set $pod "gpus" .shape.chipsPerHost }}{{ end }}
{{- $ready := include "codegemma.probe" (dict "path" "/api/local_raylet_healthz" "port" 52365) }}
{{- $_ := set $pod "readiness" (printf "%s\nfailureThreshold: 3" $ready) }}
{{- $_ := set $pod "annotations" (include "codegemma.weightAnnotations" .root | trim) }}
{{- $_ := set $pod "initContainers" (include "codegemma.modelInitContainers" (dict "root" .root) | trim) }}
{{- $_ := set $pod "volumeMounts" (list (include "codegemma.modelMounts" .root | trim) (include "codegemma.executablesMounts" .root | trim) | compact | join "\n") }}
{{- $_ := set $pod "volumes" (list (include "codegemma.modelVolumes" .root | trim) (include "codegemma.executablesVolumes" .root | trim) | compact | join "\n") }}
{{- if .root.Values.highAvailability.enabled }}{{ $_ := set $pod "affinity" (include "codegemma.ownMachine" .) }}{{ end }}
{{- $nodes := include "codegemma.acceleratorNodes" $worker | fromYaml }}
{{- with merge (deepCopy ($worker.nodeSelector | default dict)) $nodes }}{{ $_ := set $pod "nodeSelector" (toYaml .) }}{{ end }}
{{- $tolerations := include "codegemma.acceleratorTolerations" $worker | fromYamlArray }}
{{- with concat $tolerations ($worker.tolerations | default list) }}{{ $_ := set $pod "tolerations" (toYaml .) }}{{ end }}
{{- include "codegemma.workerPod" $pod }}
{{- end }}

{{- /* No two worker pods on one machine: Ray, which places groups in pods, does not know which machine a pod is on. */}}
{{- define "codegemma.ownMachine" -}}
podAntiAffinity:
  requiredDuringSchedulingIgnoredDuringExecution:
    - topologyKey: kubernetes.io/hostname
      labelSelector:
        matchLabels:
          {{- include "codegemma.selector" (dict "root" .root "component" "worker") | nindent 10 }}
{{- end }}

{{- /* Tells Ray the slice's kind. GKE's webhook for Ray sets which host of the slice a pod is. */}}
{{- define "codegemma.acceleratorEnvironment" -}}
{{- if hasPrefix "tpu" .worker.accelerator }}
- {name: TPU_ACCELERATOR_TYPE, value: v5litepod-{{ .shape.chips }}}
- {name: TPU_TOPOLOGY, value: {{ .worker.topology }}}
{{- end }}
{{- end }}
