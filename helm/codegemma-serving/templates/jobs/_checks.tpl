{{- /* What Jobs need, as a list of kind, name and the value that names it. Of others than the chart: it must be there before
the release. */}}
{{- define "codegemma.jobNeeds" -}}
{{- $needs := list }}
{{- $executables := .Values.executables }}
{{- $claims := dict "models.volume.existingClaim" (and (or .Values.models.download .Values.models.convert $executables.compile.enabled) .Values.models.volume.existingClaim) }}
{{- $_ := set $claims "models.adapters.existingClaim" (and (or (not (kindIs "invalid" .Values.models.adapters.served)) $executables.compile.enabled) .Values.models.adapters.existingClaim) }}
{{- $_ := set $claims "executables.volume.existingClaim" (and $executables.compile.enabled $executables.volume.existingClaim) }}
{{- range $value, $claim := $claims }}
{{- with $claim }}{{ $needs = append $needs (list "PersistentVolumeClaim" . $value) }}{{ end }}
{{- end }}
{{- $variables := dict }}
{{- range .Values.models.download }}
{{- with .credentialsSecret }}{{ $needs = append $needs (list "Secret" . "models.download[].credentialsSecret") }}{{ end }}
{{- $_ := set $variables (printf "models.download.%s.env" .name) .env }}
{{- end }}
{{- if $executables.compile.enabled }}
{{- $needs = append $needs (list "Secret" $executables.existingSecret "executables.existingSecret") }}
{{- with .Values.models.volume.copy.credentialsSecret }}{{ $needs = append $needs (list "Secret" . "models.volume.copy.credentialsSecret") }}{{ end }}
{{- $_ := set $variables "models.volume.copy.env" .Values.models.volume.copy.env }}
{{- $_ := set $variables "ray.extraEnv" .Values.ray.extraEnv }}
{{- range .Values.ray.extraEnvFrom }}
{{- with .secretRef }}{{ $needs = append $needs (list "Secret" .name "ray.extraEnvFrom") }}{{ end }}
{{- with .configMapRef }}{{ $needs = append $needs (list "ConfigMap" .name "ray.extraEnvFrom") }}{{ end }}
{{- end }}
{{- end }}
{{- range $value, $env := $variables }}
{{- range $env }}
{{- $from := .valueFrom | default dict }}
{{- with $from.secretKeyRef }}{{ $needs = append $needs (list "Secret" .name $value) }}{{ end }}
{{- with $from.configMapKeyRef }}{{ $needs = append $needs (list "ConfigMap" .name $value) }}{{ end }}
{{- end }}
{{- end }}
{{- if or .Values.models.download $executables.compile.enabled }}
{{- range .Values.extraVolumes }}
{{- $value := printf "extraVolumes %s" .name }}
{{- with .configMap }}{{ $needs = append $needs (list "ConfigMap" .name $value) }}{{ end }}
{{- with .secret }}{{ $needs = append $needs (list "Secret" .secretName $value) }}{{ end }}
{{- with .persistentVolumeClaim }}{{ $needs = append $needs (list "PersistentVolumeClaim" .claimName $value) }}{{ end }}
{{- range (.projected | default dict).sources }}
{{- with .configMap }}{{ $needs = append $needs (list "ConfigMap" .name $value) }}{{ end }}
{{- with .secret }}{{ $needs = append $needs (list "Secret" .name $value) }}{{ end }}
{{- end }}
{{- end }}
{{- end }}
{{- if include "codegemma.hasJobs" . }}
{{- range .Values.image.pullSecrets }}{{ $needs = append $needs (list "Secret" . "image.pullSecrets") }}{{ end }}
{{- if not .Values.serviceAccount.create }}
{{- $needs = append $needs (list "ServiceAccount" .Values.serviceAccount.name "serviceAccount.name") }}
{{- end }}
{{- end }}
{{- toJson $needs }}
{{- end }}

{{- /* Jobs are hooks, and Helm makes nothing but hooks before they have ended: one that needs an object of the release would wait
for ever. */}}
{{- define "codegemma.checkJobNeeds" -}}
{{- $needs := include "codegemma.jobNeeds" . | fromJsonArray }}
{{- range .Values.extraObjects }}
{{- $object := tpl (toYaml .) $ | fromYaml }}
{{- $metadata := $object.metadata | default dict }}
{{- $isHook := contains "pre-install" (get ($metadata.annotations | default dict) "helm.sh/hook" | default "") }}
{{- range $needs }}
{{- if and (eq (index . 0) ($object.kind | toString)) (eq (index . 1) ($metadata.name | toString)) (not $isHook) }}
{{- fail (printf "extraObjects has the %s %s, which %s names, but Jobs need it before Helm makes it, and would wait for ever. Make it yourself, before the release: kubectl -n %s apply -f FILE, and remove it from extraObjects." $object.kind $metadata.name (index . 2) $.Release.Namespace) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "codegemma.checkDownloads" -}}
{{- $volume := .Values.models.volume }}
{{- if and .Values.models.download (not $volume.existingClaim) }}
{{- fail (printf "models.download has %d entries, but models.volume.existingClaim is empty: there is no volume to write to. Set it, or remove models.download." (len .Values.models.download)) }}
{{- end }}
{{- $targets := dict }}
{{- range .Values.models.download }}
{{- if eq (empty .huggingFace) (empty .bucket) }}
{{- fail (printf "models.download.%s: set huggingFace or bucket, one of the two." .name) }}
{{- end }}
{{- if hasKey $targets .target }}
{{- fail (printf "models.download.%s.target=%s is the target of %s too. Give each a directory of its own." .name .target (get $targets .target)) }}
{{- end }}
{{- $_ := set $targets .target .name }}
{{- with .huggingFace }}
{{- if not (regexMatch "^[0-9a-f]{40}$" .revision) }}
{{- fail (printf "models.download: huggingFace.revision=%s of %s is no commit. A branch or a tag can move to other weights: take the 40 digits of the commit from the history of its files, or from `git ls-remote https://huggingface.co/%s`." .revision .repository .repository) }}
{{- end }}
{{- end }}
{{- end }}
{{- range $component := list "download" "convert" }}
{{- $names := list }}
{{- range get $.Values.models $component }}
{{- $job := printf "%s-%s-%s" (include "codegemma.fullname" $) $component .name }}
{{- if gt (len $job) 63 }}
{{- fail (printf "models.%s: the name %s makes a Job %s, of %d characters. Kubernetes allows 63: use a shorter one." $component .name $job (len $job)) }}
{{- end }}
{{- if has .name $names }}
{{- fail (printf "models.%s: the name %s is taken. Give each entry its own." $component .name) }}
{{- end }}
{{- $names = append $names .name }}
{{- end }}
{{- end }}
{{- range $volume.images }}
{{- include "codegemma.checkImageVolume" (dict "root" $ "key" (printf "models.volume.images %s" .path) "reference" .reference) }}
{{- end }}
{{- end }}
