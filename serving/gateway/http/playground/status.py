"""model_status_object: how it stands with a model, in the JSON of `/v1/status`."""

from serving.gateway.status import ModelStatus


def model_status_object(status: ModelStatus) -> dict[str, object]:
    """A model's groups and what waits for them. Rows are the requests that a group computes at once."""
    config, backend = status.config, status.backend
    scaling = config.autoscaling
    return {
        "id": config.id,
        "waiting": backend.waiting,
        "max_waiting": config.limits.max_queue,
        "rows_per_group": config.limits.max_rows,
        "min_groups": scaling.min_replicas if scaling else config.replicas,
        "max_groups": scaling.max_replicas if scaling else config.replicas,
        "groups": [{"id": group.id, "state": group.state, "requests": group.requests} for group in backend.groups],
    }
