"""How many replica groups a model has: by the work that waits for it."""
