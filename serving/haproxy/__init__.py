"""`codegemma-haproxy`: the HAProxy that comes with Ray Serve, with a configuration made fit for untrusted clients."""
