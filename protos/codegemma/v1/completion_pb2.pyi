from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class PostProcessing(_message.Message):
    __slots__ = ("end_of_block", "suffix_overlap", "whole_lines", "file_style", "single_line")
    END_OF_BLOCK_FIELD_NUMBER: _ClassVar[int]
    SUFFIX_OVERLAP_FIELD_NUMBER: _ClassVar[int]
    WHOLE_LINES_FIELD_NUMBER: _ClassVar[int]
    FILE_STYLE_FIELD_NUMBER: _ClassVar[int]
    SINGLE_LINE_FIELD_NUMBER: _ClassVar[int]
    end_of_block: bool
    suffix_overlap: bool
    whole_lines: bool
    file_style: bool
    single_line: bool
    def __init__(self, end_of_block: _Optional[bool] = ..., suffix_overlap: _Optional[bool] = ..., whole_lines: _Optional[bool] = ..., file_style: _Optional[bool] = ..., single_line: _Optional[bool] = ...) -> None: ...

class Truncation(_message.Message):
    __slots__ = ("prefix_characters", "suffix_characters", "context_lines")
    PREFIX_CHARACTERS_FIELD_NUMBER: _ClassVar[int]
    SUFFIX_CHARACTERS_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_LINES_FIELD_NUMBER: _ClassVar[int]
    prefix_characters: int
    suffix_characters: int
    context_lines: int
    def __init__(self, prefix_characters: _Optional[int] = ..., suffix_characters: _Optional[int] = ..., context_lines: _Optional[int] = ...) -> None: ...
