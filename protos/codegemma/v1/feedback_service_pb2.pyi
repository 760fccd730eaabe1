from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CompletionEvent(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    COMPLETION_EVENT_UNSPECIFIED: _ClassVar[CompletionEvent]
    COMPLETION_EVENT_SHOWN: _ClassVar[CompletionEvent]
    COMPLETION_EVENT_ACCEPTED: _ClassVar[CompletionEvent]
    COMPLETION_EVENT_PARTLY_ACCEPTED: _ClassVar[CompletionEvent]
    COMPLETION_EVENT_REJECTED: _ClassVar[CompletionEvent]
COMPLETION_EVENT_UNSPECIFIED: CompletionEvent
COMPLETION_EVENT_SHOWN: CompletionEvent
COMPLETION_EVENT_ACCEPTED: CompletionEvent
COMPLETION_EVENT_PARTLY_ACCEPTED: CompletionEvent
COMPLETION_EVENT_REJECTED: CompletionEvent

class RecordEventRequest(_message.Message):
    __slots__ = ("completion_id", "event", "accepted_characters")
    COMPLETION_ID_FIELD_NUMBER: _ClassVar[int]
    EVENT_FIELD_NUMBER: _ClassVar[int]
    ACCEPTED_CHARACTERS_FIELD_NUMBER: _ClassVar[int]
    completion_id: str
    event: CompletionEvent
    accepted_characters: int
    def __init__(self, completion_id: _Optional[str] = ..., event: _Optional[_Union[CompletionEvent, str]] = ..., accepted_characters: _Optional[int] = ...) -> None: ...

class RecordEventResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
