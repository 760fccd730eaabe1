"""PagePool: which pages of the KV cache are in use, and by how many sequences."""

from collections import OrderedDict


class PagePool:
    """Counts the users of each page and hands out pages that have none.

    A free page keeps its contents until it is allocated again. The least recently freed goes first, after those
    freed with nothing worth keeping.
    """

    def __init__(self, num_pages: int) -> None:
        self._users = [0] * num_pages
        self._free = OrderedDict.fromkeys(range(num_pages))  # in the order in which they are handed out

    @property
    def total(self) -> int:
        """Pages in the pool."""
        return len(self._users)

    @property
    def free_pages(self) -> int:
        """Pages without a user."""
        return len(self._free)

    def users(self, page: int) -> int:
        """How many sequences use a page."""
        return self._users[page]

    def allocate(self) -> int:
        """Hands out a free page with one user.

        Raises:
          KeyError: no page is free.
        """
        page, _ = self._free.popitem(last=False)
        self._users[page] = 1
        return page

    def share(self, page: int) -> None:
        """Adds a user to a page, free or not, whose contents it wants as they are."""
        if self._users[page] == 0:
            del self._free[page]
        self._users[page] += 1

    def free(self, page: int, *, keep: bool) -> None:
        """Takes one user from a page.

        Args:
          page: the page.
          keep: whether its contents may be wanted again, so that other free pages are handed out before it.

        Raises:
          ValueError: the page has no user.
        """
        if self._users[page] == 0:
            raise ValueError(f"page {page} is freed but has no user: it was freed twice")
        self._users[page] -= 1
        if self._users[page] == 0:
            self._free[page] = None
            self._free.move_to_end(page, last=keep)
