import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.engine.pages import PagePool
from serving.engine.prefix_cache import PrefixCache


def test_a_page_freed_twice_is_an_error_that_names_it() -> None:
    pool = PagePool(2)
    page = pool.allocate()
    pool.free(page, keep=False)
    with pytest.raises(ValueError, match=f"page {page} is freed but has no user"):
        pool.free(page, keep=False)


def test_an_empty_pool_hands_out_nothing() -> None:
    pool = PagePool(1)
    pool.allocate()
    with pytest.raises(KeyError):
        pool.allocate()


def test_a_shared_page_is_free_only_after_its_last_user() -> None:
    pool = PagePool(1)
    page = pool.allocate()
    pool.share(page)
    pool.free(page, keep=True)
    assert (pool.free_pages, pool.users(page)) == (0, 1)
    pool.free(page, keep=True)
    assert (pool.free_pages, pool.users(page)) == (1, 0)


def test_a_free_page_can_be_shared_for_what_it_holds() -> None:
    pool = PagePool(2)
    page = pool.allocate()
    pool.free(page, keep=True)
    pool.share(page)
    assert (pool.free_pages, pool.users(page)) == (1, 1)
    assert pool.allocate() != page


def test_pages_worth_keeping_are_handed_out_last_and_the_least_recently_freed_of_them_first() -> None:
    pool = PagePool(4)
    first, second, third, fourth = (pool.allocate() for _ in range(4))
    pool.free(first, keep=True)
    pool.free(second, keep=False)
    pool.free(third, keep=True)
    pool.free(fourth, keep=False)
    assert {pool.allocate(), pool.allocate()} == {second, fourth}
    assert [pool.allocate(), pool.allocate()] == [first, third]


def test_a_match_leaves_at_least_one_token_over() -> None:
    cache = PrefixCache(2)
    cache.add(7, (1, 2), after=None, domain="")
    cache.add(8, (3, 4), after=7, domain="")
    assert cache.match([1, 2, 3, 4], "") == [7]
    assert cache.match([1, 2, 3, 4, 5], "") == [7, 8]
    assert cache.match([1, 2], "") == []


def test_a_page_is_found_only_after_the_same_prefix() -> None:
    cache = PrefixCache(2)
    cache.add(0, (1, 2), after=None, domain="")
    cache.add(1, (5, 6), after=0, domain="")
    cache.add(2, (3, 4), after=None, domain="")
    assert cache.match([3, 4, 5, 6, 9], "") == [2]
    assert cache.match([5, 6, 9], "") == []


def test_ids_with_equal_hashes_are_told_apart() -> None:
    assert hash((-1,)) == hash((-2,))
    cache = PrefixCache(1)
    cache.add(0, (-1,), after=None, domain="")
    assert cache.match([-2, 5], "") == []


def test_a_page_is_found_in_its_own_domain_alone() -> None:
    cache = PrefixCache(2)
    assert [cache.add(page, (1, 2), after=None, domain=domain) for page, domain in enumerate("ab")] == [0, 1]
    assert [cache.add(page + 2, (3, 4), after=page, domain=domain) for page, domain in enumerate("ab")] == [2, 3]
    assert [cache.match([1, 2, 3, 4, 5], domain) for domain in ("a", "b", "")] == [[0, 2], [1, 3], []]
    cache.forget(0)
    assert cache.match([1, 2, 3], "b") == [1]


def test_a_second_page_with_the_same_tokens_yields_to_the_first() -> None:
    cache = PrefixCache(2)
    assert cache.add(0, (1, 2), after=None, domain="") == 0
    assert cache.add(1, (1, 2), after=None, domain="") == 0
    assert 0 in cache
    assert 1 not in cache


def test_what_followed_a_forgotten_page_is_not_found_after_another_page_with_its_number() -> None:
    cache = PrefixCache(1)
    cache.add(0, (1,), after=None, domain="")
    cache.add(1, (2,), after=0, domain="")
    cache.forget(0)
    cache.add(0, (9,), after=None, domain="")
    assert cache.match([9, 2, 3], "") == [0]
    assert cache.match([1, 2, 3], "") == []


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=60))
@settings(deadline=None, max_examples=100)
def test_pages_are_either_free_or_used_and_never_handed_out_twice(actions: list[tuple[int, bool]]) -> None:
    pool = PagePool(3)
    used: list[int] = []
    for choice, keep in actions:
        if choice == 0 and pool.free_pages:
            page = pool.allocate()
            assert page not in used
            used.append(page)
        elif choice == 1 and used:
            pool.free(used.pop(0), keep=keep)
        elif choice == 2:
            page = len(used) % 3
            pool.share(page)
            used.append(page)
        assert [pool.users(page) for page in range(3)] == [used.count(page) for page in range(3)]
        assert pool.free_pages == 3 - len(set(used))
