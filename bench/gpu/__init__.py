"""The model on a GPU: whether it computes what it should, and how fast."""
