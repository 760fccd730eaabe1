"""What Gateways, groups and commands all know of a model: its ids, files, adapters, accelerators and memory."""
