"""PrefixCache: finds pages that already hold the keys and values of a prompt's beginning."""

from itertools import count
from typing import NamedTuple

type Domain = str | tuple[str, str]
"""Whose pages they are: a tenant's, or a tenant's with an adapter, of which this has the version first."""
type _Parent = int | Domain
"""What comes before a page: the serial number of another page's entry, or for a first page its domain."""


class _Entry(NamedTuple):
    """A full page and what it holds."""

    serial: int
    page: int
    parent: _Parent
    token_ids: tuple[int, ...]


class PrefixCache:
    """An index of full pages by their domain and all the tokens up to their end.

    A page is looked up by its own token ids and the entry of the page before it. The ids are compared, not just their
    hash, and serial numbers are never used again: a page is found for exactly the tokens it was computed from, and
    by requests of its own domain alone.
    """

    def __init__(self, page_size: int) -> None:
        self._page_size = page_size
        self._serials = count()
        self._entries: dict[tuple[_Parent, tuple[int, ...]], _Entry] = {}
        self._by_page: dict[int, _Entry] = {}

    def __contains__(self, page: int) -> bool:
        """Whether a page is indexed."""
        return page in self._by_page

    def match(self, token_ids: list[int], domain: Domain) -> list[int]:
        """A domain's longest run of indexed pages, in order, that begins `token_ids` and leaves one of them over."""
        pages: list[int] = []
        parent: _Parent = domain
        size = self._page_size
        for start in range(0, (len(token_ids) - 1) // size * size, size):
            entry = self._entries.get((parent, tuple(token_ids[start : start + size])))
            if entry is None:
                break
            pages.append(entry.page)
            parent = entry.serial
        return pages

    def add(self, page: int, token_ids: tuple[int, ...], *, after: int | None, domain: Domain) -> int:
        """Indexes a page whose contents are computed.

        Args:
          page: the page.
          token_ids: the tokens of the whole page.
          after: the indexed page with the tokens before these; None for a sequence's first page.
          domain: whose sequence it is, and that of the page before.

        Returns:
          The page indexed for these tokens in this domain: `page`, or the one that was there first.
        """
        parent: _Parent = domain if after is None else self._by_page[after].serial
        entry = self._entries.get((parent, token_ids))
        if entry is None:
            entry = _Entry(next(self._serials), page, parent, token_ids)
            self._entries[parent, token_ids] = self._by_page[page] = entry
        return entry.page

    def forget(self, page: int) -> None:
        """Removes a page, indexed or not, whose contents are about to change."""
        entry = self._by_page.pop(page, None)
        if entry is not None:
            del self._entries[entry.parent, entry.token_ids]
