{{- /* What values.schema.json cannot say. Each message names the key, its value and the remedy. */}}
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

{{- /* Not the schema's, so that `helm lint` without values finds nothing, and so that the message has the remedy. */}}
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
{{- fail (printf "image.repository is empty, and no public registry has the images. These values need the tags %s. Make them in the service's sources:\n\n  make image push FLAVOR=%s REGISTRY=REGISTRY\n\nthen add -f dist/image/values.yaml, which that writes, or --set image.repository=REGISTRY/codegemma-serving. Where nodes have them already, as by `kind load docker-image`, it is the name that they have there: image.repository=codegemma-serving.\n" (join " and " $images) ($flavors | uniq | join "," )) }}
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
{{- fail (printf "auth.existingSecret is empty, but auth.required is true: requests need an API key. Make one and name its secret:\n\n  codegemma keys create NAME --file %s\n  kubectl -n %s create secret generic codegemma-keys --from-file=%s\n\nthen add --set auth.existingSecret=codegemma-keys. Or name an issuer of tokens in serving.gateway.issuers. Or set auth.required=false, if whatever is in front of the service knows its callers.\n" .secretKey $.Release.Namespace .secretKey) }}
{{- end }}
{{- if and $issuers (not .required) }}
{{- fail "serving.gateway.issuers has issuers, but auth.required=false asks nobody for a token. Leave auth.required at true, or remove the issuers." }}
{{- end }}
{{- if and .existingSecret (not .required) }}
{{- fail (printf "auth.existingSecret=%s has keys, but auth.required=false asks nobody for one. Leave auth.required at true, or remove the secret's name." .existingSecret) }}
{{- end }}
{{- end }}
{{- end }}

{{- define "codegemma.checkModelVolume" -}}
{{- $volume := .Values.models.volume }}
{{- $set := list }}
{{- with $volume.existingClaim }}{{ $set = append $set "existingClaim" }}{{ end }}
{{- with $volume.gcsFuse.bucket }}{{ $set = append $set "gcsFuse.bucket" }}{{ end }}
{{- with $volume.copy.buckets }}{{ $set = append $set "copy.buckets" }}{{ end }}
{{- with $volume.images }}{{ $set = append $set "images" }}{{ end }}
{{- if gt (len $set) 1 }}
{{- fail (printf "models.volume: %s are set, but /models can come from one place. Leave one of them." (join " and " $set)) }}
{{- end }}
{{- $paths := list }}
{{- range $volume.copy.buckets }}
{{- if has .path $paths }}
{{- fail (printf "models.volume.copy.buckets: the path %s is taken. Give each checkpoint a directory of its own." .path) }}
{{- end }}
{{- $paths = append $paths .path }}
{{- end }}
{{- if and .Values.models.convert (not $volume.existingClaim) }}
{{- fail (printf "models.convert has %d entries, but models.volume.existingClaim is empty: there is no volume to write to. Set it, or remove models.convert." (len .Values.models.convert)) }}
{{- end }}
{{- if not $set }}
{{- range .Values.serving.models }}
{{- if hasPrefix "/models/" .checkpoint }}
{{- fail (printf "models.volume is empty, but serving.models %s has checkpoint=%s. Set models.volume.existingClaim, models.volume.gcsFuse.bucket, models.volume.copy.buckets or models.volume.images." .id .checkpoint) }}
{{- end }}
{{- end }}
{{- end }}
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

{{- define "codegemma.checkWorkers" -}}
{{- $names := list "gateway" }}
{{- range .Values.workers }}
{{- if has .name $names }}
{{- fail (printf "workers: the name %s is taken%s. Give each worker group its own." .name (eq .name "gateway" | ternary " by the Gateways' group" "")) }}
{{- end }}
{{- $names = append $names .name }}
{{- if gt (int .minReplicas) (int .maxReplicas) }}
{{- fail (printf "workers.%s.minReplicas=%v is above maxReplicas=%v. Lower the one or raise the other." .name .minReplicas .maxReplicas) }}
{{- end }}
{{- if and .topology (not (hasPrefix "tpu" .accelerator)) }}
{{- fail (printf "workers.%s.topology=%s: only TPUs come in slices, and accelerator=%s. Remove topology; chipsPerHost says how many a pod has." .name .topology .accelerator) }}
{{- end }}
{{- if and .gpuType (ne .accelerator "gpu") }}
{{- fail (printf "workers.%s.gpuType=%s, but accelerator=%s. Remove gpuType, or set accelerator=gpu." .name .gpuType .accelerator) }}
{{- end }}
{{- if hasPrefix "tpu" .accelerator }}
{{- include "codegemma.checkSlice" . }}
{{- end }}
{{- end }}
{{- range include "codegemma.workers" . | fromJsonArray }}
{{- $least := include "codegemma.minAvailable" . | int }}
{{- if and (gt $least 0) (ge $least (int .minReplicas)) }}
{{- fail (printf "workers.%s.minAvailable=%d is not below minReplicas=%v: no node with such a pod could ever be drained. Lower it, or leave it out." .name $least .minReplicas) }}
{{- end }}
{{- end }}
{{- end }}

{{- define "codegemma.checkSlice" -}}
{{- if not .topology }}
{{- fail (printf "workers.%s.topology is missing: a slice has a shape, such as 1x1, 2x2, 2x4 or 4x4." .name) }}
{{- end }}
{{- $shape := include "codegemma.shape" . | fromJson }}
{{- $perHost := int $shape.chipsPerHost }}
{{- if not (has $perHost (list 1 4 8)) }}
{{- fail (printf "workers.%s.chipsPerHost=%d: a v5e host has 1, 4 or 8 chips." .name $perHost) }}
{{- end }}
{{- if and (eq $perHost 8) (ne .topology "2x4") }}
{{- fail (printf "workers.%s.chipsPerHost=8 does not fit topology=%s: a host of eight chips is a slice 2x4. Remove chipsPerHost, or set topology=2x4." .name .topology) }}
{{- end }}
{{- if or (gt $perHost (int $shape.chips)) (and (lt $perHost (int $shape.chips)) (ne $perHost 4)) }}
{{- fail (printf "workers.%s.chipsPerHost=%d does not fit topology=%s of %d chips: one host has all of them, or several have 4 each." .name $perHost .topology (int $shape.chips)) }}
{{- end }}
{{- end }}

{{- /* Each model needs a worker group that can hold one of its groups. */}}
{{- define "codegemma.checkTopologies" -}}
{{- range $model := .Values.serving.models }}
{{- $topology := $model.topology | default dict }}
{{- $accelerator := $topology.accelerator | default "cpu" }}
{{- $chips := $topology.chips_per_host | default 1 | int }}
{{- $hosts := $topology.hosts | default 1 | int }}
{{- $offered := list }}
{{- range $.Values.workers }}
{{- $shape := include "codegemma.shape" . | fromJson }}
{{- $offered = append $offered (printf "%s (%s, %v x %v chips)" .name .accelerator $shape.hosts $shape.chipsPerHost) }}
{{- end }}
{{- $found := include "codegemma.workerGroup" (dict "workers" $.Values.workers "model" $model) }}
{{- if and (not $found) (hasPrefix "tpu" $accelerator) (eq $hosts 1) (gt $chips 1) }}
{{- fail (printf "serving.models %s needs a slice of %d chips on one host for each group, which no worker group offers: %d chips of a larger host need not be a slice. workers has: %s. Add a worker group of topology %s, or change the model's topology." $model.id $chips $chips (join ", " $offered | default "none") (eq $chips 4 | ternary "2x2" "2x4 with chipsPerHost 8")) }}
{{- end }}
{{- if not $found }}
{{- fail (printf "serving.models %s needs %d host(s) x %d of %s, which no worker group offers. workers has: %s. Add one to workers, or change the model's topology." $model.id $hosts $chips $accelerator (join ", " $offered | default "none")) }}
{{- end }}
{{- end }}
{{- end }}

{{- define "codegemma.checkGateways" -}}
{{- $replicas := (.Values.serving.gateway | default dict).replicas | default 1 | int }}
{{- with .Values.gateway }}
{{- if gt (int .minReplicas) (int .maxReplicas) }}
{{- fail (printf "gateway.minReplicas=%v is above gateway.maxReplicas=%v. Lower the one or raise the other." .minReplicas .maxReplicas) }}
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
{{- fail (printf "serviceAccount.name=%s is serviceAccount.headName too: KubeRay lets the head's account change pods, which Gateways and groups must not. Name two accounts." (include "codegemma.workerAccount" .)) }}
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

{{- /* What the service cannot do without and only networkPolicy.egress.rules can open. */}}
{{- define "codegemma.checkEgress" -}}
{{- $egress := .Values.networkPolicy.egress }}
{{- if and .Values.networkPolicy.enabled $egress.enabled (not $egress.rules) }}
{{- $gateway := .Values.serving.gateway | default dict }}
{{- $needs := list }}
{{- with .Values.models.volume.gcsFuse.bucket }}{{ $needs = append $needs (printf "models.volume.gcsFuse.bucket=%s" .) }}{{ end }}
{{- range .Values.models.volume.copy.buckets }}{{ $needs = append $needs (printf "models.volume.copy.buckets %s" .bucket) }}{{ end }}
{{- with .Values.gcs.redis.address }}{{ $needs = append $needs (printf "gcs.redis.address=%s" .) }}{{ end }}
{{- with ($gateway.quotas | default dict).redis }}{{ $needs = append $needs (printf "serving.gateway.quotas.redis=%s" .) }}{{ end }}
{{- range $gateway.issuers }}{{ $needs = append $needs (printf "serving.gateway.issuers %s" .issuer) }}{{ end }}
{{- with $needs }}
{{- fail (printf "networkPolicy.egress.enabled=true, but networkPolicy.egress.rules is empty: no pod could reach %s. Add a rule for it, as in networkPolicy.egress.rules=[{to: [{podSelector: {matchLabels: {app: redis}}}], ports: [{port: 6379}]}], or leave networkPolicy.egress.enabled at false." (join ", " .)) }}
{{- end }}
{{- end }}
{{- end }}

{{- define "codegemma.checkEdge" -}}
{{- with .Values.edge }}
{{- if and .ingress.enabled (not .ingress.host) }}
{{- fail "edge.ingress.host is empty: name the host that clients use, as in edge.ingress.host=code.example.com." }}
{{- end }}
{{- if and .ingress.enabled (not .ingress.tlsSecret) }}
{{- fail "edge.ingress.tlsSecret is empty: API keys must not travel in the clear. Name the certificate's secret; with edge.ingress.clusterIssuer, cert-manager makes it." }}
{{- end }}
{{- if .gatewayApi.enabled }}
{{- $gateway := .gatewayApi.gateway }}
{{- if not (or .gatewayApi.parentRefs $gateway.create) }}
{{- fail "edge.gatewayApi.parentRefs is empty: name the Gateway to attach to, as in [{name: my-gateway, namespace: edge}], or have one made by edge.gatewayApi.gateway.create=true." }}
{{- end }}
{{- if and $gateway.create (or (not $gateway.className) (not $gateway.tlsSecret)) }}
{{- fail (printf "edge.gatewayApi.gateway: className=%q and tlsSecret=%q must both be set: name a class of `kubectl get gatewayclass`, and the certificate's secret, which cert-manager makes with edge.gatewayApi.gateway.clusterIssuer." $gateway.className $gateway.tlsSecret) }}
{{- end }}
{{- $both := list }}
{{- range .gatewayApi.httpHostnames }}{{ if has . $.Values.edge.gatewayApi.grpcHostnames }}{{ $both = append $both . }}{{ end }}{{ end }}
{{- if or $both (not .gatewayApi.httpHostnames) (not .gatewayApi.grpcHostnames) }}
{{- fail (printf "edge.gatewayApi: httpHostnames=%v and grpcHostnames=%v must both be set and differ: a listener need not accept an HTTPRoute and a GRPCRoute for one name." .gatewayApi.httpHostnames .gatewayApi.grpcHostnames) }}
{{- end }}
{{- end }}
{{- $fromOutside := false }}
{{- range $.Values.networkPolicy.clients }}{{ if hasKey . "ipBlock" }}{{ $fromOutside = true }}{{ end }}{{ end }}
{{- if and (or .ingress.enabled .gatewayApi.enabled) $.Values.networkPolicy.enabled (not .controllerNamespace) (not $fromOutside) }}
{{- fail "edge.controllerNamespace is empty, so networkPolicy would keep the Gateway or the ingress controller out. Name the namespace of its pods, as in edge.controllerNamespace=envoy-gateway-system. If it has no pods, as a cloud's load balancer, add its addresses to networkPolicy.clients, as in [{ipBlock: {cidr: 10.0.0.0/8}}]." }}
{{- end }}
{{- if and .certificate.enabled (or (not .certificate.secretName) (not .certificate.dnsNames) (not .certificate.issuerRef.name)) }}
{{- fail (printf "edge.certificate: secretName=%q, dnsNames=%v and issuerRef.name=%q must all be set for cert-manager to make a certificate." .certificate.secretName .certificate.dnsNames .certificate.issuerRef.name) }}
{{- end }}
{{- if and .envoy.enabled (not .envoy.tlsSecret) }}
{{- fail "edge.envoy.tlsSecret is empty: name a secret with tls.crt and tls.key; edge.certificate can make it." }}
{{- end }}
{{- end }}
{{- end }}

{{- define "codegemma.checkMonitoring" -}}
{{- with .Values.monitoring.prometheusRule }}
{{- if and .enabled (not .runbookUrl) }}
{{- fail "monitoring.prometheusRule.runbookUrl is empty: alerts link to what to do. Set it to where your people read docs/runbook.md." }}
{{- end }}
{{- end }}
{{- end }}
