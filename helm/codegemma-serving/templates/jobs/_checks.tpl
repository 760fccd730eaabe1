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
