"""KvPages: the pages of the KV cache, some in use by sequences, some free and found again by what they hold."""

from serving.engine.pages import PagePool
from serving.engine.prefix_cache import PrefixCache
from serving.engine.sequence import Sequence


class KvPages:
    """Gives pages to sequences and takes them back, and finds those that hold the beginning of a prompt.

    Attributes:
      page_size: tokens of a page.
      pool: which pages are free.
      cache: which full pages hold what.
    """

    def __init__(self, page_size: int, num_pages: int) -> None:
        self.page_size = page_size
        self.pool = PagePool(num_pages)
        self.cache = PrefixCache(page_size)

    def count_for(self, tokens: int) -> int:
        """How many pages so many tokens need."""
        return -(-tokens // self.page_size)

    def allocate(self) -> int:
        """A free page, whose contents are forgotten."""
        page = self.pool.allocate()
        self.cache.forget(page)
        return page

    def share_prefix(self, sequence: Sequence) -> list[int]:
        """The pages that hold the beginning of a sequence's tokens, which it uses from now on."""
        pages = self.cache.match(sequence.token_ids[: sequence.cacheable + 1], sequence.domain)
        for page in pages:
            self.pool.share(page)
        return pages

    def give_back(self, pages: list[int]) -> None:
        """Ends a sequence's use of its pages.

        From the last one, because a prefix is worth more than what follows it and useless without what precedes it.
        """
        for page in reversed(pages):
            self.pool.free(page, keep=page in self.cache)

    def offer(self, sequence: Sequence, index: int) -> None:
        """Offers a sequence's page to others; when another holds the same tokens, the sequence goes on with that one.

        So a page in the index never outlives the one before it: a sequence that uses it uses both, and frees it first.
        """
        size = self.page_size
        page = sequence.pages[index]
        token_ids = tuple(sequence.token_ids[index * size : (index + 1) * size])
        after = sequence.pages[index - 1] if index else None
        indexed = self.cache.add(page, token_ids, after=after, domain=sequence.domain)
        if indexed != page:
            self.pool.share(indexed)
            self.pool.free(page, keep=False)
            sequence.pages[index] = indexed
            sequence.known_pages = min(sequence.known_pages, index)
