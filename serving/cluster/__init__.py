"""What `codegemma cluster` does with a Kubernetes cluster: examine, apply, watch, read logs, go back, and size one.

Objects are the API's own JSON. Nothing here imports JAX, Ray, or at module level the Kubernetes client.
"""
