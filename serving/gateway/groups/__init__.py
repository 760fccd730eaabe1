"""The replica groups of a model, as a Gateway sees them: which exist, the link to each, which one gets a request."""
