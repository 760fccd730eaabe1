from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ModelRole(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MODEL_ROLE_UNSPECIFIED: _ClassVar[ModelRole]
    MODEL_ROLE_FIM: _ClassVar[ModelRole]
    MODEL_ROLE_CHAT: _ClassVar[ModelRole]

class FimSupport(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FIM_SUPPORT_UNSPECIFIED: _ClassVar[FimSupport]
    FIM_SUPPORT_NATIVE: _ClassVar[FimSupport]
    FIM_SUPPORT_PREFIX: _ClassVar[FimSupport]
    FIM_SUPPORT_NONE: _ClassVar[FimSupport]
MODEL_ROLE_UNSPECIFIED: ModelRole
MODEL_ROLE_FIM: ModelRole
MODEL_ROLE_CHAT: ModelRole
FIM_SUPPORT_UNSPECIFIED: FimSupport
FIM_SUPPORT_NATIVE: FimSupport
FIM_SUPPORT_PREFIX: FimSupport
FIM_SUPPORT_NONE: FimSupport

class Model(_message.Message):
    __slots__ = ("id", "aliases", "roles", "fim_support", "context_length", "version")
    ID_FIELD_NUMBER: _ClassVar[int]
    ALIASES_FIELD_NUMBER: _ClassVar[int]
    ROLES_FIELD_NUMBER: _ClassVar[int]
    FIM_SUPPORT_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_LENGTH_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    id: str
    aliases: _containers.RepeatedScalarFieldContainer[str]
    roles: _containers.RepeatedScalarFieldContainer[ModelRole]
    fim_support: FimSupport
    context_length: int
    version: str
    def __init__(self, id: _Optional[str] = ..., aliases: _Optional[_Iterable[str]] = ..., roles: _Optional[_Iterable[_Union[ModelRole, str]]] = ..., fim_support: _Optional[_Union[FimSupport, str]] = ..., context_length: _Optional[int] = ..., version: _Optional[str] = ...) -> None: ...
