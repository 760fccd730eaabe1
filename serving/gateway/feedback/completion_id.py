"""CompletionId: all that is counted of a completion; CompletionIds: writes it as an id that clients cannot make up."""

import hmac
from base64 import urlsafe_b64encode
from hashlib import blake2b, sha256
from typing import NamedTuple
from urllib.parse import quote, unquote

_BEGINNING = "cmpl-"
_BETWEEN = ":"
"""Of all parts only the generation's id may have it, which begins with that of a request, and it comes first."""
_SIGNATURE_BYTES = 9


class CompletionId(NamedTuple):
    """What an event says of a completion later, on whichever Gateway it comes to: none of them keeps a list.

    Attributes:
      generation_id: of the request that it answers, and more: requests of several tenants may have one id.
      model: the id of the model.
      model_version: its version.
      language: of the code, as `language_of` names it.
      lines: of its text; of several choices, the first.
      characters: of the same.
    """

    generation_id: str
    model: str
    model_version: str
    language: str
    lines: int
    characters: int


class CompletionIds:
    """Writes ids and reads those that were written with the same secret."""

    def __init__(self, secret: bytes) -> None:
        """`secret` is that of all Gateways."""
        self._key = sha256(secret).digest()

    def written(self, completion: CompletionId) -> str:
        """As a client gets it."""
        generation_id, model, version, language, lines, characters = completion
        parts = (generation_id, quote(model, safe=""), quote(version, safe=""), language, str(lines), str(characters))
        text = _BEGINNING + _BETWEEN.join(parts)
        return f"{text}{_BETWEEN}{self._signature(text)}"

    def read(self, text: str) -> CompletionId | None:
        """From what a client sends, whatever that is; None if it was not written with this secret."""
        signed, _, signature = text.rpartition(_BETWEEN)
        if not hmac.compare_digest(self._signature(signed).encode(), signature.encode(errors="replace")):
            return None
        generation_id, model, version, language, lines, characters = signed.removeprefix(_BEGINNING).rsplit(_BETWEEN, 5)
        return CompletionId(generation_id, unquote(model), unquote(version), language, int(lines), int(characters))

    def _signature(self, text: str) -> str:
        encoded = text.encode(errors="replace")
        digest = blake2b(encoded, digest_size=_SIGNATURE_BYTES, key=self._key, person=b"completion id").digest()
        return urlsafe_b64encode(digest).decode()
