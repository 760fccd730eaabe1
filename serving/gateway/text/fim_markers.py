"""marked_fim_prompt: what a client has written with CodeGemma's FIM tokens, for a model that does not have them.

Editors format such prompts themselves and cannot be told which model answers.
"""

import re

from serving.gateway.request import ContextFile, FimPrompt
from serving.gateway.text.tokenizer import BOS, FILE_SEPARATOR, FIM_MIDDLE, FIM_PREFIX, FIM_SUFFIX

_MARKERS = re.compile("(" + "|".join(map(re.escape, (FIM_PREFIX, FIM_SUFFIX, FIM_MIDDLE))) + ")")
_PSM = [FIM_PREFIX, FIM_SUFFIX, FIM_MIDDLE]
_SPM = [FIM_SUFFIX, FIM_PREFIX, FIM_MIDDLE]


def marked_fim_prompt(text: str) -> FimPrompt | None:
    """Reads a raw prompt in CodeGemma's form (https://ai.google.dev/gemma/docs/codegemma/prompt-structure).

    Prefix and suffix come in either order. Before them stand other files, each a path, a line break, its text and a
    separator, and then the path of the file under the cursor. What stands behind the last marker is already written.

    Returns:
      None for a text that does not have each of those markers once, in such an order.
    """
    head, *rest = _MARKERS.split(text, maxsplit=len(_PSM) + 1)
    markers = rest[::2]
    if markers == _PSM:
        prefix, suffix, written = rest[1::2]
    elif markers == _SPM:
        suffix, prefix, written = rest[1::2]
    else:
        return None
    *files, path = head.removeprefix(BOS).split(FILE_SEPARATOR)
    return FimPrompt(
        prefix=prefix + written,
        suffix=suffix,
        path=path.strip(),
        context_files=tuple(_file(file) for file in files if file.strip()),
    )


def _file(text: str) -> ContextFile:
    path, _, code = text.partition("\n")
    return ContextFile(path, code)
