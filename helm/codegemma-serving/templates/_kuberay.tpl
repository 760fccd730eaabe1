{{- /* KubeRay's options: the head's state outside the head, and TLS between Ray's processes. */}}

{{- /* Where the state of Ray's head is kept: redis, rocksdb or nowhere. */}}
{{- define "codegemma.headState" -}}
{{- if .Values.gcs.redis.address }}redis{{ else if .Values.gcs.rocksdb.size }}rocksdb{{ end }}
{{- end }}

{{- define "codegemma.gcsFaultToleranceOptions" -}}
{{- $state := include "codegemma.headState" . }}
{{- if eq $state "redis" }}
{{- with .Values.gcs.redis }}
redisAddress: {{ .address | quote }}
{{- with .username }}
redisUsername:
  value: {{ . | quote }}
{{- end }}
{{- if .passwordSecret.name }}
redisPassword:
  valueFrom:
    secretKeyRef: {name: {{ .passwordSecret.name }}, key: {{ .passwordSecret.key }}}
{{- end }}
{{- end }}
{{- else if eq $state "rocksdb" }}
backend: rocksdb
storage: # a claim for each cluster: two heads, as during an upgrade, cannot share one
  size: {{ .Values.gcs.rocksdb.size }}
  {{- with .Values.gcs.rocksdb.storageClassName }}
  storageClassName: {{ . }}
  {{- end }}
{{- end }}
{{- end }}

{{- /* As JSON, by value: the fields of rayClusterConfig, new in KubeRay 1.7, that it sets, the operator's feature gate, and
the variables and mounts that KubeRay then sets itself. */}}
{{- define "codegemma.kubeRayOptions" -}}
{{- $options := dict }}
{{- if eq (include "codegemma.headState" .) "rocksdb" }}
{{- $_ := set $options "gcs.rocksdb.size" (dict "field" "gcsFaultToleranceOptions.storage" "gate" "GCSFaultToleranceEmbeddedStorage" "variables" (list "RAY_gcs_storage" "RAY_gcs_storage_path") "directory" "/data/gcs") }}
{{- end }}
{{- if .Values.ray.mtls }}
{{- $_ := set $options "ray.mtls" (dict "field" "tlsOptions" "gate" "RayClusterMTLS" "variables" (list "RAY_USE_TLS" "RAY_TLS_SERVER_CERT" "RAY_TLS_SERVER_KEY" "RAY_TLS_CA_CERT") "directory" "/etc/ray/tls") }}
{{- end }}
{{- $options | toJson }}
{{- end }}

{{- define "codegemma.checkKubeRay" -}}
{{- with .Values.gcs }}
{{- if and .redis.address .rocksdb.size }}
{{- fail (printf "gcs.redis.address=%s and gcs.rocksdb.size=%s are both set, but the state of Ray's head is in one place. Leave one of them." .redis.address .rocksdb.size) }}
{{- end }}
{{- if and .rocksdb.storageClassName (not .rocksdb.size) }}
{{- fail (printf "gcs.rocksdb.storageClassName=%s, but gcs.rocksdb.size is empty: there is no volume. Set it, such as to 1Gi, or remove the class." .rocksdb.storageClassName) }}
{{- end }}
{{- end }}
{{- $environment := keys .Values.ray.environment }}
{{- range .Values.ray.extraEnv }}{{ $environment = append $environment .name }}{{ end }}
{{- range $value, $option := include "codegemma.kubeRayOptions" . | fromJson }}
{{- range $option.variables }}
{{- if has . $environment }}
{{- fail (printf "ray.environment or ray.extraEnv has %s, which KubeRay sets itself with %s. Remove it." . $value) }}
{{- end }}
{{- end }}
{{- range $.Values.extraVolumeMounts }}
{{- if eq .mountPath $option.directory }}
{{- fail (printf "extraVolumeMounts: %s is mounted at %s, which KubeRay uses itself with %s. Mount it elsewhere." .name .mountPath $value) }}
{{- end }}
{{- end }}
{{- include "codegemma.checkKubeRayVersion" (dict "root" $ "value" $value "option" $option) }}
{{- end }}
{{- if and .Values.ray.mtls (.Capabilities.APIVersions.Has "ray.io/v1/RayService") (not (.Capabilities.APIVersions.Has "cert-manager.io/v1")) }}
{{- fail "ray.mtls=true, but the cluster does not know cert-manager.io/v1: KubeRay has cert-manager make the certificates. Install cert-manager, restart KubeRay's operator, which looks for it when it starts, or set ray.mtls=false." }}
{{- end }}
{{- end }}

{{- /* An older CRD silently drops fields that it does not define. Helm knows the cluster's kinds and, if connected, its
CRDs, and fails if it may not read them; `helm template` knows neither and refuses nothing. */}}
{{- define "codegemma.checkKubeRayVersion" -}}
{{- $versions := .root.Capabilities.APIVersions }}
{{- $old := and ($versions.Has "ray.io/v1/RayService") (not ($versions.Has "ray.io/v1/RayCronJob")) }}{{- /* of 1.6 */}}
{{- $definition := lookup "apiextensions.k8s.io/v1" "CustomResourceDefinition" "" "rayservices.ray.io" }}
{{- with $definition }}
{{- range .spec.versions }}
{{- if eq .name "v1" }}
{{- $node := .schema.openAPIV3Schema.properties.spec.properties.rayClusterConfig }}
{{- range splitList "." $.option.field }}{{ $node = get (get ($node | default dict) "properties" | default dict) . }}{{ end }}
{{- $old = not $node }}
{{- end }}
{{- end }}
{{- end }}
{{- if $old }}
{{- fail (printf "%s is set, but the cluster's RayServices have no rayClusterConfig.%s: it is new in KubeRay 1.7, and would be dropped silently. Update the CRDs, which Helm leaves as they are, by kubectl apply --server-side -k 'github.com/ray-project/kuberay/ray-operator/config/crd?ref=v1.7.0', then the operator, with the feature gate %s=true. Or remove %s." .value .option.field .option.gate .value) }}
{{- end }}
{{- end }}
