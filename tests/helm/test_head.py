"""Ray's head: its state, and who may ask it."""

from tests.helm.chart import CASE, ray_service


def test_head_runs_no_replica_and_keeps_its_state_in_redis_if_there_is_one() -> None:
    cluster = ray_service(CASE["redis"])["spec"]["rayClusterConfig"]
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    password = {"valueFrom": {"secretKeyRef": {"name": "redis", "key": "password"}}}
    options = {"redisAddress": "rediss://redis:6379", "redisUsername": {"value": "ray"}, "redisPassword": password}
    assert cluster["gcsFaultToleranceOptions"] == options
    assert "gcsFaultToleranceOptions" not in ray_service(CASE["demo"])["spec"]["rayClusterConfig"]


def test_ray_wants_a_token_unless_told_otherwise() -> None:
    assert ray_service(CASE["demo"])["spec"]["rayClusterConfig"]["authOptions"] == {"mode": "token"}
    assert "authOptions" not in ray_service(CASE["no-ray-token"])["spec"]["rayClusterConfig"]
