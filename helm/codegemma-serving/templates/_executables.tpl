{{- /* Compiled steps: those compiled ahead of time, and those that groups keep for later pods. */}}

{{- /* Where the steps of a model are: takes a dict of root and model. With a Job that compiles them, the directory's name
depends on everything that the steps depend on: those of the release before stay, also for `helm rollback`. */}}
{{- define "codegemma.executablesPath" -}}
{{- $directory := "/executables" }}
{{- if .root.Values.executables.compile.enabled }}
{{- $image := include "codegemma.image" (dict "root" .root "accelerator" .model.topology.accelerator) }}
{{- $madeOf := pick .model "checkpoint" "dtype" "quantize" "topology" "limits" "adapters" }}
{{- $environment := list .root.Values.ray.environment .root.Values.ray.extraEnv .root.Values.ray.extraEnvFrom }}
{{- $directory = printf "/executables/%s" (list $image $madeOf $environment | toJson | sha256sum | trunc 16) }}
{{- end }}
{{- printf "%s/%s.executables" $directory .model.id }}
{{- end }}

{{- /* Which of executables.volume is set: claim, image or nothing. */}}
{{- define "codegemma.executablesSource" -}}
{{- with .Values.executables.volume }}
{{- if .existingClaim }}claim{{ else if .image }}image{{ end }}
{{- end }}
{{- end }}

{{- define "codegemma.executablesEnvironment" -}}
{{- if .Values.executables.cache.existingClaim }}
- {name: XDG_CACHE_HOME, value: /var/cache/codegemma}
{{- end }}
{{- end }}

{{- define "codegemma.executablesKeyMount" -}}
{{- if .Values.executables.existingSecret }}
# The file itself: a directory of a secret holds links, and a key that is a link is not trusted.
- {name: executables-key, mountPath: /home/codegemma/.local/share/codegemma/executables.key, subPath: executables.key, readOnly: true}
{{- end }}
{{- end }}

{{- define "codegemma.executablesMounts" -}}
{{- include "codegemma.executablesKeyMount" . }}
{{- if include "codegemma.executablesSource" . }}
- {name: executables, mountPath: /executables, readOnly: true}
{{- end }}
{{- if .Values.executables.cache.existingClaim }}
- {name: executables-cache, mountPath: /var/cache/codegemma}
{{- end }}
{{- end }}

{{- define "codegemma.executablesKeyVolume" -}}
{{- with .Values.executables.existingSecret }}
- name: executables-key
  # By its name: a pod that mounts what the secret has not would get an empty directory, and compile.
  secret: {secretName: {{ . }}, defaultMode: 0440, items: [{key: executables.key, path: executables.key}]}
{{- end }}
{{- end }}

{{- define "codegemma.executablesVolumes" -}}
{{- include "codegemma.executablesKeyVolume" . }}
{{- $source := include "codegemma.executablesSource" . }}
{{- if eq $source "claim" }}
- name: executables
  persistentVolumeClaim: {claimName: {{ .Values.executables.volume.existingClaim }}, readOnly: true}
{{- else if eq $source "image" }}
- name: executables
  image: {reference: {{ .Values.executables.volume.image | quote }}, pullPolicy: IfNotPresent}
{{- end }}
{{- with .Values.executables.cache.existingClaim }}
- name: executables-cache
  persistentVolumeClaim: {claimName: {{ . }}}
{{- end }}
{{- end }}

{{- define "codegemma.checkExecutables" -}}
{{- $executables := .Values.executables }}
{{- $needs := list }}
{{- with $executables.cache.existingClaim }}{{ $needs = append $needs (printf "executables.cache.existingClaim=%s" .) }}{{ end }}
{{- with $executables.volume.existingClaim }}{{ $needs = append $needs (printf "executables.volume.existingClaim=%s" .) }}{{ end }}
{{- with $executables.volume.image }}{{ $needs = append $needs (printf "executables.volume.image=%s" .) }}{{ end }}
{{- range .Values.serving.models }}
{{- if .executables }}{{ $needs = append $needs (printf "serving.models %s has executables=%s" .id .executables) }}{{ end }}
{{- end }}
{{- if and $needs (not $executables.existingSecret) }}
{{- fail (printf "executables.existingSecret is empty, but %s: a pod reads only steps signed with its key, and each pod would generate its own. Make one key for all:\n\n  head -c 32 /dev/urandom >executables.key\n  kubectl -n %s create secret generic codegemma-executables --from-file=executables.key\n\nthen add --set executables.existingSecret=codegemma-executables. For files that `codegemma compile` made elsewhere, use that machine's key.\n" (join " and " $needs) .Release.Namespace) }}
{{- end }}
{{- if and $executables.volume.existingClaim $executables.volume.image }}
{{- fail "executables.volume: existingClaim and image are set, but /executables can come from one place. Leave one of them." }}
{{- end }}
{{- if $executables.volume.image }}
{{- include "codegemma.checkImageVolume" (dict "root" . "key" "executables.volume.image" "reference" $executables.volume.image) }}
{{- end }}
{{- if $executables.compile.enabled }}
{{- if not $executables.volume.existingClaim }}
{{- fail "executables.compile.enabled=true, but executables.volume.existingClaim is empty: there is no volume to write to. Set it to a claim that many nodes can read, or leave executables.compile.enabled at false." }}
{{- end }}
{{- $tpus := false }}
{{- range .Values.serving.models }}{{ if hasPrefix "tpu" ((.topology | default dict).accelerator | default "cpu") }}{{ $tpus = true }}{{ end }}{{ end }}
{{- if not $tpus }}
{{- fail "executables.compile.enabled=true, but no model of serving.models is on TPUs: steps for GPUs and CPUs are compiled where they run. Set executables.cache.existingClaim to keep those, and leave executables.compile.enabled at false." }}
{{- end }}
{{- end }}
{{- if and $executables.cache.existingClaim (hasKey .Values.ray.environment "XDG_CACHE_HOME") }}
{{- fail (printf "ray.environment.XDG_CACHE_HOME=%s, but executables.cache.existingClaim=%s is mounted at /var/cache/codegemma, where groups look. Remove one of the two." .Values.ray.environment.XDG_CACHE_HOME $executables.cache.existingClaim) }}
{{- end }}
{{- end }}

{{- /* An artefact as a volume: takes a dict of root, key and reference. */}}
{{- define "codegemma.checkImageVolume" -}}
{{- $minor := regexReplaceAll "[^0-9]" .root.Capabilities.KubeVersion.Minor "" | int }}
{{- if and (eq .root.Capabilities.KubeVersion.Major "1") (lt $minor 33) }}
{{- fail (printf "%s=%s: Kubernetes %s has no image volumes yet: 1.35 has them, 1.33 and 1.34 have them with the feature gate ImageVolume. Put the files on a claim. (`helm template` asks no cluster: give it --kube-version.)" .key .reference .root.Capabilities.KubeVersion.Version) }}
{{- end }}
{{- if not (regexMatch "@sha256:[0-9a-f]{64}$" .reference) }}
{{- fail (printf "%s=%s has no digest: pods that start later could get other files. Add @sha256:..., which `docker buildx imagetools inspect` and `oras resolve` print." .key .reference) }}
{{- end }}
{{- end }}
