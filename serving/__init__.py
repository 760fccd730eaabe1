"""A code-assist service around a Gemma that spans devices: gateway, replica groups, engine."""
