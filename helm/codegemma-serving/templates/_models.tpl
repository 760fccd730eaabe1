{{- /* Which of models.volume is set: claim, gcsFuse, s3, images or nothing. */}}
{{- define "codegemma.modelSource" -}}
{{- with .Values.models.volume }}
{{- if .existingClaim }}claim{{ else if .gcsFuse.bucket }}gcsFuse{{ else if .s3.bucket }}s3{{ else if .images }}images{{ end }}
{{- end }}
{{- end }}

{{- /* Whether pods need the cloud's metadata server: to read a bucket without a secret, or for another service. */}}
{{- define "codegemma.cloudIdentity" -}}
{{- $source := include "codegemma.modelSource" . }}
{{- $byIdentity := and (eq $source "s3") (not .Values.models.volume.s3.credentialsSecret) }}
{{- if or (eq $source "gcsFuse") $byIdentity .Values.serviceAccount.annotations }}true{{ end }}
{{- end }}

{{- define "codegemma.modelMounts" -}}
{{- range .Values.models.volume.images }}
- {name: model-{{ .path }}, mountPath: /models/{{ .path }}, readOnly: true}
{{- end }}
{{- if has (include "codegemma.modelSource" .) (list "claim" "gcsFuse" "s3") }}
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
{{- else if eq $source "s3" }}
- name: models
  emptyDir: {sizeLimit: {{ $volume.s3.size }}}
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

{{- /* Copies a bucket before Ray starts; for Gateways, tokenizers only. Takes a dict of root and tokenizersOnly. */}}
{{- define "codegemma.modelInitContainers" -}}
{{- $s3 := .root.Values.models.volume.s3 }}
{{- if eq (include "codegemma.modelSource" .root) "s3" }}
- name: fetch-models
  image: {{ $s3.image }}
  imagePullPolicy: {{ .root.Values.image.pullPolicy }}
  args:
    - s3
    - sync
    - --only-show-errors
    - s3://{{ $s3.bucket }}/{{ $s3.prefix }}
    - /models
    {{- with $s3.endpoint }}
    - --endpoint-url={{ . }}
    {{- end }}
    {{- with $s3.caBundle }}
    - --ca-bundle={{ . }}
    {{- end }}
    {{- if .tokenizersOnly }}
    - --exclude=*.safetensors
    {{- end }}
  env:
    - {name: HOME, value: /tmp}
  {{- with $s3.credentialsSecret }}
  envFrom:
    - secretRef: {name: {{ . }}}
  {{- end }}
  resources:
    {{- include "codegemma.resources" (dict "cpu" "500m" "memory" "1Gi" "ephemeralStorage" $s3.size) | nindent 4 }}
  securityContext:
    {{- include "codegemma.containerSecurity" .root | nindent 4 }}
  volumeMounts:
    - {name: models, mountPath: /models}
    - {name: tmp, mountPath: /tmp}
    {{- with .root.Values.extraVolumeMounts }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end }}
{{- end }}

{{- define "codegemma.checkModelVolume" -}}
{{- $volume := .Values.models.volume }}
{{- $set := list }}
{{- with $volume.existingClaim }}{{ $set = append $set "existingClaim" }}{{ end }}
{{- with $volume.gcsFuse.bucket }}{{ $set = append $set "gcsFuse.bucket" }}{{ end }}
{{- with $volume.s3.bucket }}{{ $set = append $set "s3.bucket" }}{{ end }}
{{- with $volume.images }}{{ $set = append $set "images" }}{{ end }}
{{- if gt (len $set) 1 }}
{{- fail (printf "models.volume: %s are set, but /models can come from one place. Leave one of them." (join " and " $set)) }}
{{- end }}
{{- if and .Values.models.convert (not $volume.existingClaim) }}
{{- fail (printf "models.convert has %d entries, but models.volume.existingClaim is empty: there is no volume to write to. Set it, or remove models.convert." (len .Values.models.convert)) }}
{{- end }}
{{- if not $set }}
{{- range .Values.serving.models }}
{{- if hasPrefix "/models/" .checkpoint }}
{{- fail (printf "models.volume is empty, but serving.models %s has checkpoint=%s. Set models.volume.existingClaim, models.volume.gcsFuse.bucket, models.volume.s3.bucket or models.volume.images." .id .checkpoint) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
