"""What `codegemma cluster` does with a Kubernetes cluster: examine, apply, watch, read logs, roll back, and size.

Objects are the API's own JSON. Nothing here imports JAX, Ray, or at module level the Kubernetes client.
"""
