"""`codegemma eval`: code benchmarks against a service, with generated programs run in a sandbox.

`task_sets/` turns published files into tasks, `service.py` asks the service, `sandbox.py` runs what comes back,
`run_directory.py` keeps it, `report.py` and `comparison.py` tell what it means.
"""
