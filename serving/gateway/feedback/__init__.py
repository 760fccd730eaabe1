"""What became of completions: shown, accepted, rejected."""
