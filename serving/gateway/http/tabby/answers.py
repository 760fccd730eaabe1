"""Tabby's wire, outwards: from the gateway's answers to a body."""

from collections import defaultdict

from serving.gateway.http.answer import WholeAnswer
from serving.gateway.http.tabby.completion_id import CompletionId
from serving.gateway.request import CodeChunk


class Completion(WholeAnswer):
    """The answer to a completion, which is never streamed."""

    def __init__(self, request_id: str) -> None:
        self._request_id = request_id
        self._texts: defaultdict[int, list[str]] = defaultdict(list)
        self._model = ""

    def add(self, chunk: CodeChunk) -> None:
        """As `WholeAnswer.add`."""
        self._model = chunk.model
        if not chunk.usage:
            self._texts[chunk.index].append(chunk.text)

    def body(self) -> dict[str, object]:
        """As `WholeAnswer.body`."""
        return {
            "id": CompletionId(self._request_id, self._model).written(),
            "choices": [{"index": index, "text": "".join(texts)} for index, texts in sorted(self._texts.items())],
        }
