"""One of two hosts with adapters, for test_hosted_adapters.py: follows a leader, and reads what its input names."""

import json
import os
import sys
import threading
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from serving.group.adapters import GroupAdapters
from serving.group.channel import HostChannel
from serving.group.host_adapters import HostAdapters
from serving.models.adapter_directory import AdapterDirectory
from sharding.batch import Bucket
from sharding.gemma import abstract_parameters
from sharding.mesh import join_hosts, make_mesh, use_devices
from sharding.runner import ModelRunner
from sharding.steps import compile_steps
from tests.group.adapted_model import LIMITS
from tests.sharding.small_models import LOCAL

coordinator, rank, directory, token, model = sys.argv[1:]
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # where Gloo writes, too
use_devices("cpu", cpu_devices=1)
join_hosts(coordinator, 2, int(rank))
mesh = make_mesh(2)
with np.load(model) as arrays:
    parameters = {
        path: jax.make_array_from_callback(spec.shape, spec.sharding, arrays[path].__getitem__)
        for path, spec in abstract_parameters(LOCAL, mesh, jnp.float32).items()
        if isinstance(spec, jax.ShapeDtypeStruct)
    }
buckets = [Bucket(tokens, LIMITS.max_rows, LIMITS.pages_per_sequence, LIMITS.adapters) for tokens in (2, 16)]
runner = ModelRunner(parameters, compile_steps(LOCAL, mesh, jnp.float32, LIMITS, buckets=buckets))
adapters = HostAdapters(GroupAdapters(AdapterDirectory(Path(directory)), LOCAL, runner))
channel = HostChannel("127.0.0.1", bytes.fromhex(token))
print(json.dumps(channel.address), file=answers, flush=True)
is_first = rank == "0"
following = threading.Thread(
    target=channel.follow, args=[runner], kwargs={"answers_tokens": is_first, "load_adapter": adapters.load}
)
following.start()
for line in sys.stdin:
    match json.loads(line):
        case [read, name, version]:
            print(json.dumps(adapters.read(read, name, version)), file=answers, flush=True)
        case read:
            adapters.forget(read)
following.join()
