{{- /* Adapters that the values list: links on the claim, made by a Job. */}}

{{- /* As JSON: sources by name, by the directory of each model's adapters, relative to the claim. */}}
{{- define "codegemma.servedAdapters" -}}
{{- if not .Values.models.adapters.existingClaim }}
{{- fail (printf "models.adapters.served has %d entries, but models.adapters.existingClaim is empty: there is no claim to make links on. Set it, or remove models.adapters.served." (len .Values.models.adapters.served)) }}
{{- end }}
{{- $directories := dict }}
{{- $ofModel := dict }}
{{- range .Values.serving.models }}
{{- $directory := (.adapters | default dict).directory | default "" | clean }}
{{- if hasPrefix "/adapters/" $directory }}
{{- $directory = trimPrefix "/adapters/" $directory }}
{{- $_ := set $ofModel .id $directory }}
{{- $_ := set $directories $directory (get $directories $directory | default dict) }}
{{- end }}
{{- end }}
{{- range .Values.models.adapters.served }}
{{- $directory := get $ofModel .model }}
{{- if not $directory }}
{{- fail (printf "models.adapters.served: %s is for model %s, but serving.models has no such model with adapters.directory below /adapters. Set that directory, or correct the model's id." .name .model) }}
{{- end }}
{{- $source := clean .source }}
{{- if or (eq $source ".") (hasPrefix ".." $source) (hasPrefix (printf "%s/" $directory) (printf "%s/" $source)) }}
{{- fail (printf "models.adapters.served: %s of %s has source=%s, which must be below the claim, and not in /adapters/%s, where everything is served. Keep it in another directory, such as versions/%s." .name .model .source $directory .name) }}
{{- end }}
{{- $adapters := get $directories $directory }}
{{- if hasKey $adapters .name }}
{{- fail (printf "models.adapters.served: %s is in /adapters/%s twice. Give each adapter its own name." .name $directory) }}
{{- end }}
{{- $_ := set $adapters .name $source }}
{{- end }}
{{- $directories | toJson }}
{{- end }}

{{- define "codegemma.checkAdapters" -}}
{{- range .Values.serving.models }}
{{- $directory := (.adapters | default dict).directory | default "" }}
{{- $below := printf "%s/" $directory }}
{{- if and (hasPrefix "/adapters/" $below) (not $.Values.models.adapters.existingClaim) }}
{{- fail (printf "models.adapters.existingClaim is empty, but serving.models %s has adapters.directory=%s. Set the claim, or keep adapters below /models." .id $directory) }}
{{- end }}
{{- if and (hasPrefix "/models/" $below) (not (include "codegemma.modelSource" $)) }}
{{- fail (printf "models.volume is empty, but serving.models %s has adapters.directory=%s. Set models.volume.existingClaim or models.volume.gcsFuse.bucket, or models.adapters.existingClaim and a directory below /adapters." .id $directory) }}
{{- end }}
{{- if and (hasPrefix "/models/" $below) $.Values.models.volume.copy.buckets }}
{{- fail (printf "serving.models %s has adapters.directory=%s, but models.volume.copy copies when a pod starts, and adapters come later. Set models.adapters.existingClaim, and a directory below /adapters." .id $directory) }}
{{- end }}
{{- end }}
{{- end }}
