"""The replica groups of a model, as a Gateway sees them: which there are, the link to each, and who gets a request."""
