{{- /* Set on every container; the pod sets the user. */}}
{{- define "codegemma.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- /* The user of a pod: runAsUser of the values, or the cluster's choice. */}}
{{- define "codegemma.podSecurity" -}}
runAsNonRoot: true
{{- with .Values.runAsUser }}
runAsUser: {{ int . }}
runAsGroup: {{ int . }}
fsGroup: {{ int . }}
{{- end }}
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- /* As JSON: the variables of serving/servers/ray_environment.py, and those that follow from the values. */}}
{{- define "codegemma.ourEnvironment" -}}
{{- $ours := .Files.Get "files/environment.json" | fromJson }}
{{- /* A replaced HAProxy runs until its last requests are done. */}}
{{- $_ := set $ours "RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S" (add (include "codegemma.requestTimeoutSeconds" .) 30 | toString) }}
{{- $ours | toJson }}
{{- end }}

{{- /* The environment of every process of the cluster. */}}
{{- define "codegemma.environment" -}}
{{- range $name, $value := include "codegemma.ourEnvironment" . | fromJson }}
- {name: {{ $name }}, value: {{ $value | quote }}}
{{- end }}
{{- range $name, $value := .Values.ray.environment }}
- {name: {{ $name }}, value: {{ $value | quote }}}
{{- end }}
{{- with .Values.ray.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- /* Variables of whole secrets and ConfigMaps; those above win. */}}
{{- define "codegemma.environmentFrom" -}}
{{- with .Values.ray.extraEnvFrom }}
envFrom:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- /* Added in worker pods if the head's state is kept outside it: they continue without the head. */}}
{{- define "codegemma.withoutHeadEnvironment" -}}
{{- if include "codegemma.headState" . }}
{{- range $name, $value := .Files.Get "files/without-head-environment.json" | fromJson }}
- {name: {{ $name }}, value: {{ $value | quote }}}
{{- end }}
{{- end }}
{{- end }}

{{- /* The kubelet's probe of the pod's own Ray node: takes a dict of path and port. */}}
{{- define "codegemma.probe" -}}
httpGet: {path: {{ .path }}, port: {{ .port }}}
periodSeconds: 5
timeoutSeconds: 5
{{- end }}

{{- /* Writable directories of a Ray container, whose root file system is read-only. */}}
{{- define "codegemma.writableMounts" -}}
- {name: tmp, mountPath: /tmp}
- {name: ray-logs, mountPath: /tmp/ray}
- {name: shared-memory, mountPath: /dev/shm}
- {name: cache, mountPath: /home/codegemma/.cache}
- {name: data, mountPath: /home/codegemma/.local/share}
- {name: scripts, mountPath: /etc/codegemma/scripts, readOnly: true}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- /* Takes a dict of root and gpus, the number in one pod: several need shared memory where they have no direct link. */}}
{{- define "codegemma.writableVolumes" -}}
- {name: tmp, emptyDir: {}} # HAProxy's sockets
# Ray's sessions. KubeRay mounts a volume of this name there in some containers, but not in those that the chart adds.
- {name: ray-logs, emptyDir: {}}
{{- $gpus := .gpus | default 1 | int }}
- {name: shared-memory, emptyDir: {medium: Memory, sizeLimit: {{ gt $gpus 1 | ternary (mul 512 (add1 $gpus)) 512 }}Mi}} # Ray's object store{{ if gt $gpus 1 }}, and NCCL{{ end }}
- {name: cache, emptyDir: {}} # compiled steps
- {name: data, emptyDir: {}} # the key that they are signed with
- name: scripts
  configMap:
    name: {{ include "codegemma.fullname" .root }}-scripts
{{- with .root.Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- /* A sidecar that writes Ray Serve's logs to standard output. */}}
{{- define "codegemma.logs" -}}
- name: logs
  image: {{ include "codegemma.image" . }}
  imagePullPolicy: {{ .root.Values.image.pullPolicy }}
  restartPolicy: Always
  command: [python, /etc/codegemma/scripts/logs.py]
  resources:
    {{- include "codegemma.resources" (dict "cpu" "50m" "memory" "64Mi") | nindent 4 }}
  securityContext:
    {{- include "codegemma.containerSecurity" .root | nindent 4 }}
  volumeMounts:
    - {name: ray-logs, mountPath: /tmp/ray, readOnly: true}
    - {name: scripts, mountPath: /etc/codegemma/scripts, readOnly: true}
{{- end }}

{{- /* Requests equal to limits: takes a dict of cpu, memory and, for accelerators, extended; and ephemeralStorage, a request
without a limit, above which a pod would be evicted. */}}
{{- define "codegemma.resources" -}}
requests:
  {{- include "codegemma.amounts" . | nindent 2 }}
  {{- with .ephemeralStorage }}
  ephemeral-storage: {{ . }}
  {{- end }}
limits:
  {{- include "codegemma.amounts" . | nindent 2 }}
{{- end }}

{{- define "codegemma.amounts" -}}
cpu: {{ .cpu }}
memory: {{ .memory }}
{{- with .extended }}
{{ . }}
{{- end }}
{{- end }}

{{- /* A spread constraint: never all pods of a component on one machine. A dict of root, component and replicas. */}}
{{- define "codegemma.twoMachines" }}
- maxSkew: {{ max 1 (sub .replicas 1) }}
  minDomains: 2
  topologyKey: kubernetes.io/hostname
  whenUnsatisfiable: DoNotSchedule
  nodeTaintsPolicy: Honor # machines that the pods may not run on do not count
  {{- if eq .component "gateway" }}
  matchLabelKeys: [ray.io/cluster] # an upgrade's second cluster is spread by itself
  {{- end }}
  labelSelector:
    matchLabels:
      {{- include "codegemma.selector" (dict "root" .root "component" .component) | nindent 6 }}
{{- end }}

{{- /* Tolerations as an annotation: KubeRay ignores tolerations when it compares pod templates, so a change of them alone
would have no effect. The annotation changes with them. */}}
{{- define "codegemma.tolerationsAnnotation" -}}
checksum/tolerations: {{ . | trim | sha256sum | trunc 16 }}
{{- end }}

{{- /* A pod of a worker group. Takes a dict of root, component, settings (the part's values), accelerator, cpu, memory,
ephemeralStorage, extended (resources), gpus, env, ports, readiness (a probe), volumeMounts, volumes, initContainers, annotations,
affinity, spread, nodeSelector, tolerations. */}}
{{- define "codegemma.workerPod" -}}
{{- $root := .root -}}
metadata:
  labels: # none that changes with the chart's version: a changed pod template starts another cluster
    {{- include "codegemma.podLabels" . | nindent 4 }}
  {{- $own := merge (dict "kubectl.kubernetes.io/default-container" "logs") (.annotations | fromYaml) }}
  {{- with .tolerations }}{{ $own = merge $own (include "codegemma.tolerationsAnnotation" . | fromYaml) }}{{ end }}
  {{- include "codegemma.podAnnotations" (dict "root" $root "settings" .settings "own" $own) | nindent 2 }}
spec:
  serviceAccountName: {{ include "codegemma.workerAccount" $root }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ include "codegemma.graceSeconds" $root }}
  {{- with include "codegemma.priorityClass" $root }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with include "codegemma.pullSecrets" $root }}
  {{- . | nindent 2 }}
  {{- end }}
  {{- with include "codegemma.podPlace" (dict "settings" .settings "affinity" .affinity) }}
  {{- . | nindent 2 }}
  {{- end }}
  {{- with .nodeSelector }}
  nodeSelector:
    {{- . | nindent 4 }}
  {{- end }}
  {{- with .tolerations }}
  tolerations:
    {{- . | nindent 4 }}
  {{- end }}
  {{- with .spread }}
  topologySpreadConstraints:
    {{- . | nindent 4 }}
  {{- end }}
  securityContext:
    {{- include "codegemma.podSecurity" $root | nindent 4 }}
  initContainers:
    {{- include "codegemma.logs" . | nindent 4 }}
    {{- with .initContainers }}
    {{- . | nindent 4 }}
    {{- end }}
  containers:
    - name: ray-worker
      image: {{ include "codegemma.image" . }}
      imagePullPolicy: {{ $root.Values.image.pullPolicy }}
      env:
        {{- include "codegemma.environment" $root | trim | nindent 8 }}
        {{- with include "codegemma.withoutHeadEnvironment" $root | trim }}
        {{- . | nindent 8 }}
        {{- end }}
        {{- with .env }}
        {{- . | nindent 8 }}
        {{- end }}
      {{- with include "codegemma.environmentFrom" $root }}
      {{- . | nindent 6 }}
      {{- end }}
      ports:
        - {name: metrics, containerPort: 8080}
        {{- with .ports }}
        {{- . | nindent 8 }}
        {{- end }}
      resources:
        {{- include "codegemma.resources" . | nindent 8 }}
      securityContext:
        {{- include "codegemma.containerSecurity" $root | nindent 8 }}
      startupProbe:
        {{- include "codegemma.probe" (dict "path" "/api/local_raylet_healthz" "port" 52365) | nindent 8 }}
        failureThreshold: 120
      readinessProbe:
        {{- .readiness | nindent 8 }}
      livenessProbe:
        {{- include "codegemma.probe" (dict "path" "/api/local_raylet_healthz" "port" 52365) | nindent 8 }}
        failureThreshold: 24
      lifecycle:
        preStop:
          exec:
            command: [python, /etc/codegemma/scripts/leave.py, {{ include "codegemma.leaveSeconds" $root | quote }}]
      volumeMounts:
        {{- include "codegemma.writableMounts" $root | nindent 8 }}
        {{- with .volumeMounts }}
        {{- . | nindent 8 }}
        {{- end }}
  volumes:
    {{- include "codegemma.writableVolumes" . | nindent 4 }}
    {{- with .volumes }}
    {{- . | nindent 4 }}
    {{- end }}
{{- end }}
