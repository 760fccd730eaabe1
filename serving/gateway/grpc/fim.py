"""A place in a file to fill in code at, between the messages of `codegemma.v1` and the gateway's own."""

from codegemma.v1.completion_pb2 import PostProcessing as PostProcessingMessage
from codegemma.v1.completion_pb2 import Truncation as TruncationMessage
from codegemma.v1.prompt_pb2 import ContextFile as ContextFileMessage
from codegemma.v1.prompt_pb2 import FimInput

from serving.errors import FieldError, Reason
from serving.gateway.request import ContextFile, ContextKind, FimPrompt, PostProcessing, Truncation

_KINDS = {
    ContextFileMessage.KIND_UNSPECIFIED: ContextKind.OPEN_FILE,
    ContextFileMessage.KIND_IMPORT: ContextKind.IMPORT,
    ContextFileMessage.KIND_OPEN_FILE: ContextKind.OPEN_FILE,
    ContextFileMessage.KIND_SNIPPET: ContextKind.SNIPPET,
}
_SWITCHES = ("end_of_block", "suffix_overlap", "whole_lines", "file_style", "single_line")


def fim_prompt(message: FimInput) -> FimPrompt:
    """The prompt, which may be cut: the answer says so.

    Raises:
      ServingError: INVALID_ARGUMENT.
    """
    return FimPrompt(
        prefix=message.prefix,
        suffix=message.suffix,
        path=message.path,
        context_files=tuple(_file(file, position) for position, file in enumerate(message.context_files)),
        may_be_cut=True,
    )


def post_processing(message: PostProcessingMessage) -> PostProcessing:
    """What is to be done to an answer; what is not set has the default."""
    return PostProcessing(**{name: getattr(message, name) for name in _SWITCHES if message.HasField(name)})


def truncation(left_out: Truncation) -> TruncationMessage | None:
    """What the model was not given, as the client gets it; None for nothing."""
    if not left_out:
        return None
    return TruncationMessage(
        prefix_characters=left_out.prefix_characters,
        suffix_characters=left_out.suffix_characters,
        context_lines=left_out.context_lines,
    )


def _file(message: ContextFileMessage, position: int) -> ContextFile:
    if message.kind not in _KINDS:
        raise FieldError(
            Reason.INVALID_ARGUMENT,
            "fim.context_files",
            f"is {message.kind}. Set KIND_IMPORT, KIND_OPEN_FILE or KIND_SNIPPET, or none.",
            f"[{position}].kind",
        )
    return ContextFile(message.path, message.text, _KINDS[message.kind], message.score)
