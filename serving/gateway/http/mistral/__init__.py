"""Mistral's fill-in-the-middle API, which several editors use: the server knows how a model is asked to fill in."""
