{{- /* Jobs that prepare what groups read, before Helm installs, upgrades or rolls back anything else: hooks, one after the
other by weight. Helm has not created the release's objects yet, so those that the Jobs need are hooks too. */}}

{{- /* Annotations of a hook as YAML: takes its weight. */}}
{{- define "codegemma.jobHook" -}}
helm.sh/hook: pre-install,pre-upgrade,pre-rollback
helm.sh/hook-weight: {{ . | quote }}
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end }}

{{- /* Name, namespace, annotations and labels: takes a dict of root, suffix, component and weight. */}}
{{- define "codegemma.jobMetadata" -}}
{{- $annotations := include "codegemma.jobHook" .weight | fromYaml }}
{{- with .annotations }}{{ $annotations = merge $annotations . }}{{ end }}
{{- include "codegemma.metadata" (merge (dict "annotations" $annotations) .) }}
{{- end }}

{{- /* The account of the Jobs: that of Gateways and groups does not exist before the first installation. */}}
{{- define "codegemma.jobAccount" -}}
{{- if .Values.serviceAccount.create }}{{ include "codegemma.fullname" . }}-jobs{{ else }}{{ include "codegemma.workerAccount" . }}{{ end }}
{{- end }}

{{- /* A Job of one container: takes a dict of root, name, component, weight, retries, image, command, cpu, memory, env,
envFrom, volumeMounts, volumes, annotations (of the pod, a dict) and initContainers. It runs where Gateways may. */}}
{{- define "codegemma.job" -}}
{{- $root := .root }}
apiVersion: batch/v1
kind: Job
metadata:
  {{- include "codegemma.jobMetadata" (dict "root" $root "suffix" (printf "%s-%s" .component .name) "component" .component "weight" .weight) | nindent 2 }}
spec:
  backoffLimit: {{ .retries }}
  template:
    metadata:
      labels:
        {{- include "codegemma.podLabels" (dict "root" $root "component" .component) | nindent 8 }}
      {{- with include "codegemma.podAnnotations" (dict "root" $root "own" .annotations) }}
      {{- . | nindent 6 }}
      {{- end }}
    spec:
      restartPolicy: Never
      serviceAccountName: {{ include "codegemma.jobAccount" $root }}
      automountServiceAccountToken: false
      enableServiceLinks: false
      {{- with include "codegemma.pullSecrets" $root }}
      {{- . | nindent 6 }}
      {{- end }}
      {{- with $root.Values.gateway.nodeSelector }}
      nodeSelector:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $root.Values.gateway.tolerations }}
      tolerations:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      securityContext:
        {{- include "codegemma.podSecurity" $root | nindent 8 }}
      {{- with .initContainers }}
      initContainers:
        {{- . | nindent 8 }}
      {{- end }}
      containers:
        - name: {{ .component }}
          image: {{ .image }}
          imagePullPolicy: {{ $root.Values.image.pullPolicy }}
          command: {{ toJson .command }}
          {{- with .env }}
          env:
            {{- . | nindent 12 }}
          {{- end }}
          {{- with .envFrom }}
          envFrom:
            {{- . | nindent 12 }}
          {{- end }}
          resources:
            {{- include "codegemma.resources" . | nindent 12 }}
          securityContext:
            {{- include "codegemma.containerSecurity" $root | nindent 12 }}
          volumeMounts:
            - {name: tmp, mountPath: /tmp}
            {{- .volumeMounts | nindent 12 }}
      volumes:
        - {name: tmp, emptyDir: {}}
        {{- .volumes | nindent 8 }}
{{- end }}

{{- /* The claim of the checkpoints, writable. */}}
{{- define "codegemma.writtenModelsVolume" -}}
name: models
persistentVolumeClaim: {claimName: {{ .Values.models.volume.existingClaim }}}
{{- end }}

{{- /* Whether a Job copies from a bucket; and whether one does so as its service account. */}}
{{- define "codegemma.copiesBucket" -}}
{{- range .Values.models.download }}{{ if .bucket }}true{{ end }}{{ end }}
{{- if .Values.executables.compile.enabled }}{{ if .Values.models.volume.copy.buckets }}true{{ end }}{{ end }}
{{- end }}

{{- define "codegemma.copiesBucketByIdentity" -}}
{{- range .Values.models.download }}{{ if and .bucket (not .credentialsSecret) }}true{{ end }}{{ end }}
{{- end }}

{{- /* Whether there is any Job. */}}
{{- define "codegemma.hasJobs" -}}
{{- if or .Values.models.download .Values.models.convert .Values.executables.compile.enabled (not (kindIs "invalid" .Values.models.adapters.served)) }}true{{ end }}
{{- end }}
