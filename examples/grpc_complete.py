"""Complete code at the cursor over gRPC: `python examples/grpc_complete.py [HOST:PORT]`."""

import sys

import grpc
from codegemma.v1.code_assist_service_pb2 import StreamCompleteRequest
from codegemma.v1.code_assist_service_pb2_grpc import CodeAssistServiceStub
from codegemma.v1.generation_pb2 import GenerationConfig
from codegemma.v1.prompt_pb2 import FimInput

with grpc.insecure_channel(sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:9000") as channel:
    request = StreamCompleteRequest(
        fim=FimInput(
            prefix="def fibonacci(n: int) -> int:\n    ", suffix="\n\n\nprint(fibonacci(10))\n", path="fib.py"
        ),
        generation_config=GenerationConfig(max_tokens=64),
    )
    for part in CodeAssistServiceStub(channel).StreamComplete(request, timeout=30):
        print(part.choice.text, end="", flush=True)
    print()
