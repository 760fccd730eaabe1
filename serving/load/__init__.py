"""Load as developers make it, against a running service: what `codegemma bench serve` runs."""
