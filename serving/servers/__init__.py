"""The servers of Ray Serve's processes, made fit for hostile clients, and the environment they start in."""
