"""Tabby's wire, outwards: from the gateway's answers to a body."""

from collections import defaultdict

from serving.gateway.http.answer import WholeAnswer
from serving.gateway.request import AnswerPart, End


class Completion(WholeAnswer):
    """The answer to a completion, which is never streamed."""

    def __init__(self) -> None:
        """Begins without a piece."""
        self._texts: defaultdict[int, list[str]] = defaultdict(list)
        self._end = End()

    def add(self, part: AnswerPart) -> None:
        """As `WholeAnswer.add`."""
        if isinstance(part, End):
            self._end = part
        else:
            self._texts[part.index].append(part.text)

    def body(self) -> dict[str, object]:
        """As `WholeAnswer.body`."""
        return {
            "id": self._end.completion_id,
            "choices": [{"index": index, "text": "".join(texts)} for index, texts in sorted(self._texts.items())],
        }
