from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class FimInput(_message.Message):
    __slots__ = ("prefix", "suffix", "path", "context_files", "language")
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    SUFFIX_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FILES_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    prefix: str
    suffix: str
    path: str
    context_files: _containers.RepeatedCompositeFieldContainer[ContextFile]
    language: str
    def __init__(self, prefix: _Optional[str] = ..., suffix: _Optional[str] = ..., path: _Optional[str] = ..., context_files: _Optional[_Iterable[_Union[ContextFile, _Mapping]]] = ..., language: _Optional[str] = ...) -> None: ...

class ContextFile(_message.Message):
    __slots__ = ("path", "text", "kind", "score")
    class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        KIND_UNSPECIFIED: _ClassVar[ContextFile.Kind]
        KIND_IMPORT: _ClassVar[ContextFile.Kind]
        KIND_OPEN_FILE: _ClassVar[ContextFile.Kind]
        KIND_SNIPPET: _ClassVar[ContextFile.Kind]
    KIND_UNSPECIFIED: ContextFile.Kind
    KIND_IMPORT: ContextFile.Kind
    KIND_OPEN_FILE: ContextFile.Kind
    KIND_SNIPPET: ContextFile.Kind
    PATH_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    path: str
    text: str
    kind: ContextFile.Kind
    score: float
    def __init__(self, path: _Optional[str] = ..., text: _Optional[str] = ..., kind: _Optional[_Union[ContextFile.Kind, str]] = ..., score: _Optional[float] = ...) -> None: ...

class TokenIds(_message.Message):
    __slots__ = ("ids",)
    IDS_FIELD_NUMBER: _ClassVar[int]
    ids: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, ids: _Optional[_Iterable[int]] = ...) -> None: ...

class ChatInput(_message.Message):
    __slots__ = ("messages",)
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    messages: _containers.RepeatedCompositeFieldContainer[ChatMessage]
    def __init__(self, messages: _Optional[_Iterable[_Union[ChatMessage, _Mapping]]] = ...) -> None: ...

class ChatMessage(_message.Message):
    __slots__ = ("role", "text")
    class Role(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        ROLE_UNSPECIFIED: _ClassVar[ChatMessage.Role]
        ROLE_SYSTEM: _ClassVar[ChatMessage.Role]
        ROLE_USER: _ClassVar[ChatMessage.Role]
        ROLE_MODEL: _ClassVar[ChatMessage.Role]
    ROLE_UNSPECIFIED: ChatMessage.Role
    ROLE_SYSTEM: ChatMessage.Role
    ROLE_USER: ChatMessage.Role
    ROLE_MODEL: ChatMessage.Role
    ROLE_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    role: ChatMessage.Role
    text: str
    def __init__(self, role: _Optional[_Union[ChatMessage.Role, str]] = ..., text: _Optional[str] = ...) -> None: ...
