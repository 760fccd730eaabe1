{{- /* Checks that values.schema.json cannot express. Each message names the key, its value and the remedy. */}}
{{- define "codegemma.check" -}}
{{- include "codegemma.checkProfile" . }}
{{- include "codegemma.checkRelease" . }}
{{- include "codegemma.checkImage" . }}
{{- include "codegemma.checkAccess" . }}
{{- include "codegemma.checkDownloads" . }}
{{- include "codegemma.checkJobNeeds" . }}
{{- include "codegemma.checkModelVolume" . }}
{{- include "codegemma.checkExecutables" . }}
{{- include "codegemma.checkAdapters" . }}
{{- include "codegemma.checkWorkers" . }}
{{- include "codegemma.checkTopologies" . }}
{{- include "codegemma.checkGateways" . }}
{{- include "codegemma.checkHighAvailability" . }}
{{- include "codegemma.checkGrace" . }}
{{- include "codegemma.checkEnvironment" . }}
{{- include "codegemma.checkKubeRay" . }}
{{- include "codegemma.checkSettings" . }}
{{- include "codegemma.checkServices" . }}
{{- include "codegemma.checkEgress" . }}
{{- include "codegemma.checkEdge" . }}
{{- include "codegemma.checkCanary" . }}
{{- include "codegemma.checkInferencePool" . }}
{{- include "codegemma.checkMonitoring" . }}
{{- end }}

{{- /* Not in the schema, so that `helm lint` without values passes and the message has the remedy. */}}
{{- define "codegemma.checkProfile" -}}
{{- $profiles := list }}
{{- range $path, $_ := .Files.Glob "values-*.yaml" }}
{{- if ne $path "values-ha.yaml" }}{{ $profiles = append $profiles $path }}{{ end }}
{{- end }}
{{- $remedy := printf "Begin with a profile, by -f: %s; a packaged chart has them in it: helm pull --untar. Or say what to serve in values of your own." (join ", " $profiles) }}
{{- if not .Values.serving.models }}
{{- fail (printf "serving.models is empty: there is no model to serve. %s" $remedy) }}
{{- end }}
{{- if not .Values.workers }}
{{- fail (printf "workers is empty: there are no pods for the groups of serving.models. %s" $remedy) }}
{{- end }}
{{- end }}

{{- define "codegemma.checkImage" -}}
{{- if not .Values.image.repository }}
{{- $flavors := list (include "codegemma.flavor" (dict "root" . "accelerator" "cpu")) }}
{{- range .Values.workers }}
{{- $flavors = append $flavors (include "codegemma.flavor" (dict "root" $ "accelerator" .accelerator)) }}
{{- end }}
{{- $tag := default .Chart.AppVersion .Values.image.tag }}
{{- $images := list }}
{{- range $flavors | uniq }}
{{- $images = append $images (printf "%s-%s" $tag .) }}
{{- end }}
{{- fail (printf "image.repository is empty, and no public registry has the images. These values need the tags %s. Make them in the service's sources:\n\n  make image push FLAVOR=%s REGISTRY=REGISTRY\n\nthen add -f dist/image/values.yaml, which that writes, or --set image.repository=REGISTRY/codegemma-serving. Where nodes have them already, as after `kind load docker-image`, set the name that they have there: image.repository=codegemma-serving.\n" (join " and " $images) ($flavors | uniq | join "," )) }}
{{- end }}
{{- end }}

{{- define "codegemma.checkRelease" -}}
{{- $name := include "codegemma.fullname" . }}
{{- if gt (len $name) 47 }}
{{- fail (printf "The release name %s makes %s, of %d characters. KubeRay allows 47: use a shorter release name, or set fullnameOverride." .Release.Name $name (len $name)) }}
{{- end }}
{{- if not (regexMatch "^[a-z][a-z0-9-]*$" $name) }}
{{- fail (printf "The release name %s makes %s: KubeRay wants a name of lower-case letters, digits and hyphens that starts with a letter. Use another release name, or set fullnameOverride." .Release.Name $name) }}
{{- end }}
{{- end }}

{{- define "codegemma.checkAccess" -}}
{{- with .Values.auth }}
{{- $issuers := ($.Values.serving.gateway | default dict).issuers }}
{{- if and .required (not .existingSecret) (not $issuers) }}
{{- fail (printf "auth.existingSecret is empty, but auth.required is true: requests need an API key. Make one and name its secret:\n\n  codegemma keys create NAME --file %s\n  kubectl -n %s create secret generic codegemma-keys --from-file=%s\n\nthen add --set auth.existingSecret=codegemma-keys. Or name an issuer of tokens in serving.gateway.issuers. Or set auth.required=false, if a proxy in front of the service authenticates callers.\n" .secretKey $.Release.Namespace .secretKey) }}
{{- end }}
{{- if and $issuers (not .required) }}
{{- fail "serving.gateway.issuers has issuers, but auth.required=false asks nobody for a token. Leave auth.required at true, or remove the issuers." }}
{{- end }}
{{- if and .existingSecret (not .required) }}
{{- fail (printf "auth.existingSecret=%s has keys, but auth.required=false asks nobody for one. Leave auth.required at true, or remove the secret's name." .existingSecret) }}
{{- end }}
{{- end }}
{{- end }}

{{- define "codegemma.checkGateways" -}}
{{- $replicas := (.Values.serving.gateway | default dict).replicas | default 1 | int }}
{{- with .Values.gateway }}
{{- if gt (int .minReplicas) (int .maxReplicas) }}
{{- fail (printf "gateway.minReplicas=%v is above gateway.maxReplicas=%v. Lower one or raise the other." .minReplicas .maxReplicas) }}
{{- end }}
{{- if gt (int .minReplicas) $replicas }}
{{- fail (printf "gateway.minReplicas=%v pods for serving.gateway.replicas=%d: a pod without a Gateway never gets ready. Raise serving.gateway.replicas to that, or lower gateway.minReplicas." .minReplicas $replicas) }}
{{- end }}
{{- if lt (int .maxReplicas) (mul 2 $replicas | int) }}
{{- fail (printf "gateway.maxReplicas=%v pods for serving.gateway.replicas=%d: each Gateway has a pod of its own, and a redeployment starts the new ones before the old ones go. Raise gateway.maxReplicas to %d at least." .maxReplicas $replicas (mul 2 $replicas)) }}
{{- end }}
{{- $least := include "codegemma.minAvailable" . | int }}
{{- if and (gt $least 0) (ge $least (int .minReplicas)) }}
{{- fail (printf "gateway.minAvailable=%d is not below gateway.minReplicas=%v: no node with a Gateway could ever be drained. Lower it, or leave it out." $least .minReplicas) }}
{{- end }}
{{- end }}
{{- end }}

{{- define "codegemma.checkHighAvailability" -}}
{{- if .Values.highAvailability.enabled }}
{{- if not (include "codegemma.headState" .) }}
{{- fail "highAvailability.enabled=true, but gcs.redis.address is empty: the machine of Ray's head would take all workers with it. Set it to a Redis that is on more than one machine itself, or gcs.rocksdb.size to the size of a volume that another machine can attach." }}
{{- end }}
{{- if lt (int .Values.gateway.minReplicas) 2 }}
{{- fail (printf "highAvailability.enabled=true, but gateway.minReplicas=%v: the machine of the only Gateway would take the service with it. Raise it, serving.gateway.replicas and gateway.maxReplicas, as values-ha.yaml does." .Values.gateway.minReplicas) }}
{{- end }}
{{- end }}
{{- end }}

{{- define "codegemma.checkGrace" -}}
{{- $least := add (include "codegemma.leaveSeconds" .) 15 | int }}
{{- $grace := include "codegemma.graceSeconds" . | int }}
{{- if lt $grace $least }}
{{- fail (printf "terminationGracePeriodSeconds=%d, but a group may take %s s to finish its requests (drain_timeout_s) and some more to end. Raise it to %d at least, or leave it out." $grace (include "codegemma.drainSeconds" .) $least) }}
{{- end }}
{{- end }}

{{- define "codegemma.checkEnvironment" -}}
{{- $ours := include "codegemma.ourEnvironment" . | fromJson }}
{{- if include "codegemma.headState" . }}
{{- $ours = merge $ours (.Files.Get "files/without-head-environment.json" | fromJson) }}
{{- end }}
{{- range $name, $value := .Values.ray.environment }}
{{- if hasKey $ours $name }}
{{- fail (printf "ray.environment.%s=%s, but the service needs it to be %s. Remove it." $name $value (get $ours $name)) }}
{{- end }}
{{- end }}
{{- range .Values.ray.extraEnv }}
{{- if hasKey $ours .name }}
{{- fail (printf "ray.extraEnv has %s, but the service needs it to be %s. Remove it." .name (get $ours .name)) }}
{{- end }}
{{- if hasKey $.Values.ray.environment .name }}
{{- fail (printf "ray.extraEnv has %s, and so has ray.environment. Leave it in one of them." .name) }}
{{- end }}
{{- end }}
{{- end }}

{{- /* Labels that select pods, names of accounts and volumes. */}}
{{- define "codegemma.checkSettings" -}}
{{- $parts := dict "" .Values "head." .Values.head "gateway." .Values.gateway "edge.envoy." .Values.edge.envoy }}
{{- range .Values.workers }}{{ $_ := set $parts (printf "workers.%s." .name) . }}{{ end }}
{{- range $part, $settings := $parts }}
{{- range $label, $value := $settings.podLabels }}
{{- if or (hasPrefix "app.kubernetes.io/" $label) (hasPrefix "ray.io/" $label) }}
{{- fail (printf "%spodLabels has %s=%s: the chart and KubeRay select pods by labels of app.kubernetes.io/ and ray.io/. Choose another prefix." $part $label $value) }}
{{- end }}
{{- end }}
{{- end }}
{{- range $label, $value := .Values.commonLabels }}
{{- if or (hasPrefix "app.kubernetes.io/" $label) (eq $label "helm.sh/chart") }}
{{- fail (printf "commonLabels has %s=%s, which the chart sets itself. Choose another label." $label $value) }}
{{- end }}
{{- end }}
{{- with .Values.serviceAccount }}
{{- if and (not .create) (or (not .name) (not .headName)) }}
{{- fail (printf "serviceAccount.create=false, but serviceAccount.name=%q and serviceAccount.headName=%q: name both accounts, that of Gateways and groups and that of Ray's head, or leave serviceAccount.create at true." .name .headName) }}
{{- end }}
{{- if and .annotations (not .create) }}
{{- fail (printf "serviceAccount.annotations has %s, but serviceAccount.create=false: the account is not the chart's. Annotate the account %s yourself, and remove serviceAccount.annotations." (keys .annotations | sortAlpha | join ", ") .name) }}
{{- end }}
{{- end }}
{{- if eq (include "codegemma.workerAccount" .) (include "codegemma.headAccount" .) }}
{{- fail (printf "serviceAccount.name=%s is serviceAccount.headName too: KubeRay lets the head's account change pods, which Gateways and groups must not do. Name two accounts." (include "codegemma.workerAccount" .)) }}
{{- end }}
{{- $volumes := list "tmp" "ray-logs" "shared-memory" "cache" "data" "scripts" "models" "adapters" "keys" "executables" "executables-key" "executables-cache" "kubernetes-api" "gcs-storage" "ray-tls" }}
{{- range .Values.models.volume.images }}{{ $volumes = append $volumes (printf "model-%s" .path) }}{{ end }}
{{- range .Values.extraVolumes }}
{{- if has .name $volumes }}
{{- fail (printf "extraVolumes: the name %s is taken. Give each volume its own." .name) }}
{{- end }}
{{- $volumes = append $volumes .name }}
{{- end }}
{{- range .Values.extraVolumeMounts }}
{{- if not (has .name $volumes) }}
{{- fail (printf "extraVolumeMounts: %s is mounted at %s, but extraVolumes has no volume of that name. Add it." .name .mountPath) }}
{{- end }}
{{- end }}
{{- end }}

{{- define "codegemma.checkServices" -}}
{{- $fromOutside := false }}
{{- range .Values.networkPolicy.clients }}{{ if hasKey . "ipBlock" }}{{ $fromOutside = true }}{{ end }}{{ end }}
{{- if and (ne .Values.service.type "ClusterIP") .Values.networkPolicy.enabled (not $fromOutside) }}
{{- fail (printf "service.type=%s, but networkPolicy.clients has no ipBlock, so nobody outside the cluster gets in. Add your clients' addresses, as in [{ipBlock: {cidr: 10.0.0.0/8}}], or leave service.type at ClusterIP." .Values.service.type) }}
{{- end }}
{{- if and (eq .Values.service.type "ClusterIP") (or .Values.service.loadBalancerClass .Values.service.loadBalancerSourceRanges) }}
{{- fail "service.loadBalancerClass or service.loadBalancerSourceRanges is set, but service.type=ClusterIP makes no load balancer. Set service.type=LoadBalancer, or remove them." }}
{{- end }}
{{- end }}

{{- define "codegemma.checkMonitoring" -}}
{{- with .Values.monitoring.prometheusRule }}
{{- if and .enabled (not .runbookUrl) }}
{{- fail "monitoring.prometheusRule.runbookUrl is empty: alerts link to it. Set it to the URL where your operators read docs/runbook.md." }}
{{- end }}
{{- end }}
{{- end }}
