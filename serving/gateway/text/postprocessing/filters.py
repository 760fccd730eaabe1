"""infill_filters: what an answer between code goes through on its way to the client."""

from serving.gateway.request import FimPrompt, PostProcessing
from serving.gateway.text.answer_text import TextFilter
from serving.gateway.text.line_breaks import LineBreakJoin
from serving.gateway.text.postprocessing.block_end import BlockEnd
from serving.gateway.text.postprocessing.file_style import FileStyle
from serving.gateway.text.postprocessing.languages import language_of
from serving.gateway.text.postprocessing.whole_lines import WholeLines
from serving.gateway.text.suffix_stop import SuffixStop


def infill_filters(prompt: FimPrompt, language: str, post: PostProcessing, *, sees_suffix: bool) -> list[TextFilter]:
    """The filters of an answer, in order.

    Args:
      prompt: where it goes.
      language: as editors name it; empty: by the prompt's path.
      post: which filters are on.
      sees_suffix: whether the model was given the suffix; if not, its text always ends where that begins.
    """
    prefix, suffix = prompt.prefix, prompt.suffix
    filters: list[TextFilter] = []
    if post.suffix_overlap or not sees_suffix:
        filters.append(SuffixStop(prefix, suffix, in_part=post.suffix_overlap))
    if post.end_of_block:
        filters.append(BlockEnd(prefix, suffix, language_of(language, prompt.path)))
    if post.whole_lines:
        filters.append(WholeLines(prefix, suffix))
    if post.file_style:
        filters.append(FileStyle(prefix, suffix))
    return [*filters, LineBreakJoin(prefix, suffix)]
