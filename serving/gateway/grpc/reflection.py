"""Reflection: what clients without the .proto files get, and the version of it that grpcio does not have.

`grpc.reflection.v1` is `v1alpha` by another name: each message of one can be read as that of the other.
"""

from google.protobuf import descriptor_pool, text_format
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.rpc import error_details_pb2, status_pb2
from grpc_reflection.v1alpha import reflection_pb2

from serving.servers.grpc_services import GRPC_SERVICES

_IN_ERRORS = (error_details_pb2.DESCRIPTOR, status_pb2.DESCRIPTOR)
"""What a status has in its details; no service's file names it."""


def of_v1(name: str) -> str:
    """A service's name in version 1 of reflection; that of another service as it is."""
    return name.replace("grpc.reflection.v1alpha.", "grpc.reflection.v1.")


def public_descriptors() -> descriptor_pool.DescriptorPool:
    """Our services' files, what they import and what errors hold: the process's own pool has Ray's internals too."""
    everything = descriptor_pool.Default()
    pool = descriptor_pool.DescriptorPool()
    pool.Add(_v1_file())

    def add(file: FileDescriptor) -> None:
        for dependency in file.dependencies:
            add(dependency)
        pool.AddSerializedFile(file.serialized_pb)

    for file in _IN_ERRORS:
        add(file)
    for service in GRPC_SERVICES:
        if not service.startswith("grpc.reflection.v1."):
            add(everything.FindFileContainingSymbol(service))
    return pool


def _v1_file() -> FileDescriptorProto:
    """The description of version 1."""
    alpha = FileDescriptorProto()
    reflection_pb2.DESCRIPTOR.CopyToProto(alpha)
    return text_format.Parse(str(alpha).replace("v1alpha", "v1"), FileDescriptorProto())
