{{- /* The Serve config: serving/config.py's ServingConfig as the arguments of a Ray Serve application. */}}
{{- define "codegemma.serveConfig" -}}
{{- $serving := deepCopy .Values.serving }}
{{- $access := dict "anyone" true }}
{{- if .Values.auth.required }}
{{- $access = dict }}
{{- end }}
{{- if .Values.auth.existingSecret }}
{{- $access = dict "keys_file" (printf "/etc/codegemma/keys/%s" .Values.auth.secretKey) }}
{{- end }}
{{- $_ := set $serving "gateway" (merge $access ($serving.gateway | default dict)) }}
{{- $deployments := list }}
{{- range $serving.models }}
{{- if $.Values.highAvailability.enabled }}
{{- if .autoscaling }}
{{- $least := max 2 (int .autoscaling.min_replicas) }}
{{- $_ := set . "autoscaling" (merge (dict "min_replicas" $least "max_replicas" (max $least (int .autoscaling.max_replicas))) .autoscaling) }}
{{- else }}
{{- $_ := set . "replicas" (max 2 (.replicas | default 1 | int)) }}
{{- end }}
{{- if eq ((.topology | default dict).hosts | default 1 | int) 1 }}
{{- $deployments = append $deployments (dict "name" .id "max_replicas_per_node" 1) }}
{{- end }}
{{- end }}
{{- $topology := .topology | default dict }}
{{- if and (hasPrefix "tpu" ($topology.accelerator | default "cpu")) (eq ($topology.hosts | default 1 | int) 1) }}
{{- $resource := include "codegemma.workerGroup" (dict "workers" $.Values.workers "model" .) | include "codegemma.sliceResource" }}
{{- $slice := dict "resources" (dict $resource ($topology.chips_per_host | default 1 | int)) }}
{{- $_ := set . "ray_actor_options" (merge $slice (.ray_actor_options | default dict)) }}
{{- end }}
{{- if and (hasPrefix "tpu" ($topology.accelerator | default "cpu")) (include "codegemma.executablesSource" $) (not .executables) }}
{{- $_ := set . "executables" (include "codegemma.executablesPath" (dict "root" $ "model" .)) }}
{{- end }}
{{- end }}
{{- $environment := .Files.Get "files/gateway-environment.json" | fromJson }}
{{- with $serving.gateway.max_body_bytes }}
{{- $_ := set $environment "RAY_SERVE_GRPC_MAX_MESSAGE_SIZE" (int64 . | toString) }}
{{- end }}
proxy_location: EveryNode
http_options:
  host: 0.0.0.0
  port: 8000
grpc_options:
  port: 9000
  grpc_servicer_functions: [serving.gateway.grpc.servicers.add_services]
  enable_reflection: false
logging_config:
  encoding: JSON
applications:
  - name: codegemma
    route_prefix: /
    import_path: serving.app:build
    # Gateways run in the gateway group only, whose pods the Services select; the environment is the one that they have
    # without these options, for options set here replace all of them.
    deployments:
      - name: Gateway
        ray_actor_options:
          num_cpus: 0
          resources: {codegemma-gateway: 1}
          runtime_env: {env_vars: {{ toJson $environment }}}
      {{- with $deployments }}
      # Two groups of a model are in two pods, and thus on two machines.
      {{- toYaml . | nindent 6 }}
      {{- end }}
    args:
      {{- toYaml $serving | nindent 6 }}
{{- end }}

{{- /* Seconds that the slowest group may take to finish its requests. */}}
{{- define "codegemma.drainSeconds" -}}
{{- $longest := 0 }}
{{- range .Values.serving.models }}
{{- $longest = max $longest (ceil (.drain_timeout_s | default 120)) }}
{{- end }}
{{- $longest }}
{{- end }}

{{- /* Seconds until Ray gives up a draining node: Serve ends groups 15 s after their drain, some of them later. */}}
{{- define "codegemma.leaveSeconds" -}}
{{- add (include "codegemma.drainSeconds" .) 30 }}
{{- end }}

{{- define "codegemma.graceSeconds" -}}
{{- int (.Values.terminationGracePeriodSeconds | default (add (include "codegemma.leaveSeconds" .) 30)) }}
{{- end }}

{{- define "codegemma.requestTimeoutSeconds" -}}
{{- ceil ((.Values.serving.gateway | default dict).request_timeout_s | default 300) | int }}
{{- end }}
