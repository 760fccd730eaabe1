{{- /* Which of models.volume is set: claim, gcsFuse, copy, images or nothing. */}}
{{- define "codegemma.modelSource" -}}
{{- with .Values.models.volume }}
{{- if .existingClaim }}claim{{ else if .gcsFuse.bucket }}gcsFuse{{ else if .copy.buckets }}copy{{ else if .images }}images{{ end }}
{{- end }}
{{- end }}

{{- /* Whether pods ask the cloud's metadata server who they are: for a bucket without a secret, or another service. */}}
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

{{- /* Those of a pod that reads weights, by what GKE's sidecar may take to read them. */}}
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

{{- /* What rclone reads besides: takes a dict of root and env, the values'. The environment says who asks, or else the service
account. */}}
{{- define "codegemma.copyEnvironment" -}}
{{- $env := list (dict "name" "HOME" "value" "/tmp") }}
{{- range list "RCLONE_GCS_ENV_AUTH" "RCLONE_S3_ENV_AUTH" }}{{ $env = append $env (dict "name" . "value" "true") }}{{ end }}
{{- concat $env (.env | default list) | toYaml }}
{{- end }}

{{- /* Copies buckets before Ray starts. Gateways read tokenizers only: takes a dict of root, tokenizersOnly and scripts, the volume
that has copy-bucket.sh. */}}
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
