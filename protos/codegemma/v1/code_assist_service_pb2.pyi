import datetime

from codegemma.v1 import completion_pb2 as _completion_pb2
from codegemma.v1 import generation_pb2 as _generation_pb2
from codegemma.v1 import prompt_pb2 as _prompt_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CompleteRequest(_message.Message):
    __slots__ = ("model", "fim", "prompt", "token_ids", "generation_config", "timeout", "session_id", "request_id", "time_budget", "post_processing")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    FIM_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    TOKEN_IDS_FIELD_NUMBER: _ClassVar[int]
    GENERATION_CONFIG_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    TIME_BUDGET_FIELD_NUMBER: _ClassVar[int]
    POST_PROCESSING_FIELD_NUMBER: _ClassVar[int]
    model: str
    fim: _prompt_pb2.FimInput
    prompt: str
    token_ids: _prompt_pb2.TokenIds
    generation_config: _generation_pb2.GenerationConfig
    timeout: _duration_pb2.Duration
    session_id: str
    request_id: str
    time_budget: _duration_pb2.Duration
    post_processing: _completion_pb2.PostProcessing
    def __init__(self, model: _Optional[str] = ..., fim: _Optional[_Union[_prompt_pb2.FimInput, _Mapping]] = ..., prompt: _Optional[str] = ..., token_ids: _Optional[_Union[_prompt_pb2.TokenIds, _Mapping]] = ..., generation_config: _Optional[_Union[_generation_pb2.GenerationConfig, _Mapping]] = ..., timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., session_id: _Optional[str] = ..., request_id: _Optional[str] = ..., time_budget: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., post_processing: _Optional[_Union[_completion_pb2.PostProcessing, _Mapping]] = ...) -> None: ...

class CompleteResponse(_message.Message):
    __slots__ = ("choices", "model", "usage", "request_id", "model_version", "truncation", "completion_id")
    CHOICES_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    TRUNCATION_FIELD_NUMBER: _ClassVar[int]
    COMPLETION_ID_FIELD_NUMBER: _ClassVar[int]
    choices: _containers.RepeatedCompositeFieldContainer[_generation_pb2.Choice]
    model: str
    usage: _generation_pb2.Usage
    request_id: str
    model_version: str
    truncation: _completion_pb2.Truncation
    completion_id: str
    def __init__(self, choices: _Optional[_Iterable[_Union[_generation_pb2.Choice, _Mapping]]] = ..., model: _Optional[str] = ..., usage: _Optional[_Union[_generation_pb2.Usage, _Mapping]] = ..., request_id: _Optional[str] = ..., model_version: _Optional[str] = ..., truncation: _Optional[_Union[_completion_pb2.Truncation, _Mapping]] = ..., completion_id: _Optional[str] = ...) -> None: ...

class StreamCompleteRequest(_message.Message):
    __slots__ = ("model", "fim", "prompt", "token_ids", "generation_config", "timeout", "session_id", "request_id", "time_budget", "post_processing")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    FIM_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    TOKEN_IDS_FIELD_NUMBER: _ClassVar[int]
    GENERATION_CONFIG_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    TIME_BUDGET_FIELD_NUMBER: _ClassVar[int]
    POST_PROCESSING_FIELD_NUMBER: _ClassVar[int]
    model: str
    fim: _prompt_pb2.FimInput
    prompt: str
    token_ids: _prompt_pb2.TokenIds
    generation_config: _generation_pb2.GenerationConfig
    timeout: _duration_pb2.Duration
    session_id: str
    request_id: str
    time_budget: _duration_pb2.Duration
    post_processing: _completion_pb2.PostProcessing
    def __init__(self, model: _Optional[str] = ..., fim: _Optional[_Union[_prompt_pb2.FimInput, _Mapping]] = ..., prompt: _Optional[str] = ..., token_ids: _Optional[_Union[_prompt_pb2.TokenIds, _Mapping]] = ..., generation_config: _Optional[_Union[_generation_pb2.GenerationConfig, _Mapping]] = ..., timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., session_id: _Optional[str] = ..., request_id: _Optional[str] = ..., time_budget: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., post_processing: _Optional[_Union[_completion_pb2.PostProcessing, _Mapping]] = ...) -> None: ...

class StreamCompleteResponse(_message.Message):
    __slots__ = ("choice", "model", "usage", "request_id", "model_version", "truncation", "completion_id")
    CHOICE_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    TRUNCATION_FIELD_NUMBER: _ClassVar[int]
    COMPLETION_ID_FIELD_NUMBER: _ClassVar[int]
    choice: _generation_pb2.Choice
    model: str
    usage: _generation_pb2.Usage
    request_id: str
    model_version: str
    truncation: _completion_pb2.Truncation
    completion_id: str
    def __init__(self, choice: _Optional[_Union[_generation_pb2.Choice, _Mapping]] = ..., model: _Optional[str] = ..., usage: _Optional[_Union[_generation_pb2.Usage, _Mapping]] = ..., request_id: _Optional[str] = ..., model_version: _Optional[str] = ..., truncation: _Optional[_Union[_completion_pb2.Truncation, _Mapping]] = ..., completion_id: _Optional[str] = ...) -> None: ...

class ChatRequest(_message.Message):
    __slots__ = ("model", "messages", "generation_config", "timeout", "session_id", "request_id")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    GENERATION_CONFIG_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    model: str
    messages: _containers.RepeatedCompositeFieldContainer[_prompt_pb2.ChatMessage]
    generation_config: _generation_pb2.GenerationConfig
    timeout: _duration_pb2.Duration
    session_id: str
    request_id: str
    def __init__(self, model: _Optional[str] = ..., messages: _Optional[_Iterable[_Union[_prompt_pb2.ChatMessage, _Mapping]]] = ..., generation_config: _Optional[_Union[_generation_pb2.GenerationConfig, _Mapping]] = ..., timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., session_id: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class ChatResponse(_message.Message):
    __slots__ = ("choices", "model", "usage", "request_id", "model_version")
    CHOICES_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    choices: _containers.RepeatedCompositeFieldContainer[_generation_pb2.Choice]
    model: str
    usage: _generation_pb2.Usage
    request_id: str
    model_version: str
    def __init__(self, choices: _Optional[_Iterable[_Union[_generation_pb2.Choice, _Mapping]]] = ..., model: _Optional[str] = ..., usage: _Optional[_Union[_generation_pb2.Usage, _Mapping]] = ..., request_id: _Optional[str] = ..., model_version: _Optional[str] = ...) -> None: ...

class StreamChatRequest(_message.Message):
    __slots__ = ("model", "messages", "generation_config", "timeout", "session_id", "request_id")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    GENERATION_CONFIG_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    model: str
    messages: _containers.RepeatedCompositeFieldContainer[_prompt_pb2.ChatMessage]
    generation_config: _generation_pb2.GenerationConfig
    timeout: _duration_pb2.Duration
    session_id: str
    request_id: str
    def __init__(self, model: _Optional[str] = ..., messages: _Optional[_Iterable[_Union[_prompt_pb2.ChatMessage, _Mapping]]] = ..., generation_config: _Optional[_Union[_generation_pb2.GenerationConfig, _Mapping]] = ..., timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., session_id: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class StreamChatResponse(_message.Message):
    __slots__ = ("choice", "model", "usage", "request_id", "model_version")
    CHOICE_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    choice: _generation_pb2.Choice
    model: str
    usage: _generation_pb2.Usage
    request_id: str
    model_version: str
    def __init__(self, choice: _Optional[_Union[_generation_pb2.Choice, _Mapping]] = ..., model: _Optional[str] = ..., usage: _Optional[_Union[_generation_pb2.Usage, _Mapping]] = ..., request_id: _Optional[str] = ..., model_version: _Optional[str] = ...) -> None: ...

class CountTokensRequest(_message.Message):
    __slots__ = ("model", "fim", "prompt", "token_ids", "chat")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    FIM_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    TOKEN_IDS_FIELD_NUMBER: _ClassVar[int]
    CHAT_FIELD_NUMBER: _ClassVar[int]
    model: str
    fim: _prompt_pb2.FimInput
    prompt: str
    token_ids: _prompt_pb2.TokenIds
    chat: _prompt_pb2.ChatInput
    def __init__(self, model: _Optional[str] = ..., fim: _Optional[_Union[_prompt_pb2.FimInput, _Mapping]] = ..., prompt: _Optional[str] = ..., token_ids: _Optional[_Union[_prompt_pb2.TokenIds, _Mapping]] = ..., chat: _Optional[_Union[_prompt_pb2.ChatInput, _Mapping]] = ...) -> None: ...

class CountTokensResponse(_message.Message):
    __slots__ = ("tokens", "model")
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    tokens: int
    model: str
    def __init__(self, tokens: _Optional[int] = ..., model: _Optional[str] = ...) -> None: ...
