{{- /* Which of models.volume is set: claim, gcsFuse, copy, images or nothing. */}}
{{- define "codegemma.modelSource" -}}
{{- with .Values.models.volume }}
{{- if .existingClaim }}claim{{ else if .gcsFuse.bucket }}gcsFuse{{ else if .copy.buckets }}copy{{ else if .images }}images{{ end }}
{{- end }}
{{- end }}

{{- /* Whether pods need the cloud's metadata server: to read a bucket without a secret, or for another service. */}}
{{- define "codegemma.cloudIdentity" -}}
{{- $source := include "codegemma.modelSource" . }}
{{- $byIdentity := and (eq $source "copy") (not .Values.models.volume.copy.credentialsSecret) }}
{{- if or (eq $source "gcsFuse") $byIdentity .Values.serviceAccount.annotations }}true{{ end }}
{{- end }}

{{- define "codegemma.modelMounts" -}}
{{- range .Values.models.volume.images }}
- {name: model-{{ .path }}, mountPath: /models/{{ .path }}, readOnly: true}
{{- end }}
{{- if has (include "codegemma.modelSource" .) (list "claim" "gcsFuse" "copy") }}
- {name: models, mountPath: /models, readOnly: true}
{{- end }}
{{- if .Values.models.adapters.existingClaim }}
- {name: adapters, mountPath: /adapters, readOnly: true}
{{- end }}
{{- end }}

{{- define "codegemma.modelVolumes" -}}
{{- $volume := .Values.models.volume }}
{{- $source := include "codegemma.modelSource" . }}
{{- if eq $source "claim" }}
- name: models
  persistentVolumeClaim: {claimName: {{ $volume.existingClaim }}, readOnly: true}
{{- else if eq $source "gcsFuse" }}
- name: models
  csi:
    driver: gcsfuse.csi.storage.gke.io
    readOnly: true
    volumeAttributes:
      bucketName: {{ $volume.gcsFuse.bucket }}
      mountOptions: {{ join "," $volume.gcsFuse.mountOptions }}{{ with $volume.gcsFuse.onlyDir }},only-dir={{ . }}{{ end }}
{{- else if eq $source "copy" }}
- name: models
  emptyDir: {sizeLimit: {{ $volume.copy.size }}}
{{- end }}
{{- range $volume.images }}
- name: model-{{ .path }}
  image: {reference: {{ .reference | quote }}, pullPolicy: IfNotPresent}
{{- end }}
{{- with .Values.models.adapters.existingClaim }}
- name: adapters
  persistentVolumeClaim: {claimName: {{ . }}, readOnly: true}
{{- end }}
{{- end }}

{{- define "codegemma.modelAnnotations" -}}
{{- if eq (include "codegemma.modelSource" .) "gcsFuse" }}
gke-gcsfuse/volumes: "true"
{{- end }}
{{- end }}

{{- /* Annotations of a pod that reads weights: the resources of GKE's sidecar. */}}
{{- define "codegemma.weightAnnotations" -}}
{{- include "codegemma.modelAnnotations" . }}
{{- if eq (include "codegemma.modelSource" .) "gcsFuse" }}
{{- with .Values.models.volume.gcsFuse.sidecar }}
gke-gcsfuse/cpu-limit: {{ .cpu | quote }}
gke-gcsfuse/memory-limit: {{ .memory | quote }}
gke-gcsfuse/ephemeral-storage-limit: {{ .ephemeralStorage | quote }}
{{- end }}
{{- end }}
{{- end }}

{{- /* Environment of rclone: takes a dict of root and env, the values'. Credentials come from the environment, or else from the
service account. */}}
{{- define "codegemma.copyEnvironment" -}}
{{- $env := list (dict "name" "HOME" "value" "/tmp") }}
{{- range list "RCLONE_GCS_ENV_AUTH" "RCLONE_S3_ENV_AUTH" }}{{ $env = append $env (dict "name" . "value" "true") }}{{ end }}
{{- concat $env (.env | default list) | toYaml }}
{{- end }}

{{- /* Copies buckets before Ray starts; for Gateways, tokenizers only. Takes a dict of root, tokenizersOnly and scripts, the
volume that has copy-bucket.sh. */}}
{{- define "codegemma.modelInitContainers" -}}
{{- $root := .root }}
{{- $without := "" }}{{ if .tokenizersOnly }}{{ $without = "*.safetensors" }}{{ end }}
{{- $scripts := .scripts | default "scripts" }}
{{- with $root.Values.models.volume.copy }}
{{- $copy := . }}
{{- range .buckets }}
- name: copy-{{ .path }}
  image: {{ $root.Values.models.rcloneImage }}
  imagePullPolicy: {{ $root.Values.image.pullPolicy }}
  command: {{ list "sh" "/scripts/copy-bucket.sh" .bucket (printf "/models/%s" .path) $without | compact | toJson }}
  env:
    {{- include "codegemma.copyEnvironment" $copy | nindent 4 }}
  {{- with $copy.credentialsSecret }}
  envFrom:
    - secretRef: {name: {{ . }}}
  {{- end }}
  resources:
    {{- include "codegemma.resources" (dict "cpu" "500m" "memory" "1Gi" "ephemeralStorage" $copy.size) | nindent 4 }}
  securityContext:
    {{- include "codegemma.containerSecurity" $root | nindent 4 }}
  volumeMounts:
    - {name: models, mountPath: /models}
    - {name: tmp, mountPath: /tmp}
    - {name: {{ $scripts }}, mountPath: /scripts, readOnly: true}
    {{- with $root.Values.extraVolumeMounts }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "codegemma.checkModelVolume" -}}
{{- $volume := .Values.models.volume }}
{{- $set := list }}
{{- with $volume.existingClaim }}{{ $set = append $set "existingClaim" }}{{ end }}
{{- with $volume.gcsFuse.bucket }}{{ $set = append $set "gcsFuse.bucket" }}{{ end }}
{{- with $volume.copy.buckets }}{{ $set = append $set "copy.buckets" }}{{ end }}
{{- with $volume.images }}{{ $set = append $set "images" }}{{ end }}
{{- if gt (len $set) 1 }}
{{- fail (printf "models.volume: %s are set, but /models can come from one place. Leave one of them." (join " and " $set)) }}
{{- end }}
{{- $paths := list }}
{{- range $volume.copy.buckets }}
{{- if has .path $paths }}
{{- fail (printf "models.volume.copy.buckets: the path %s is taken. Give each checkpoint a directory of its own." .path) }}
{{- end }}
{{- $paths = append $paths .path }}
{{- end }}
{{- if and .Values.models.convert (not $volume.existingClaim) }}
{{- fail (printf "models.convert has %d entries, but models.volume.existingClaim is empty: there is no volume to write to. Set it, or remove models.convert." (len .Values.models.convert)) }}
{{- end }}
{{- if not $set }}
{{- range .Values.serving.models }}
{{- if hasPrefix "/models/" .checkpoint }}
{{- fail (printf "models.volume is empty, but serving.models %s has checkpoint=%s. Set models.volume.existingClaim, models.volume.gcsFuse.bucket, models.volume.copy.buckets or models.volume.images." .id .checkpoint) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
