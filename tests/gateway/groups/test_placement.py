"""Which group gets a request: sessions stay, the rest spreads, and what waits does so outside."""

from collections import Counter
from dataclasses import dataclass
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from serving.engine.request import GenerationRequest, Priority
from serving.gateway.groups.placement import affinity, choose, session_of

ROWS = 8


@dataclass(frozen=True)
class Group:
    group_id: str
    load: int
    adapters: frozenset[str] = frozenset()


CHAT = GenerationRequest(request_id="chat", prompt_ids=(2,), max_tokens=1)
FIM = replace(CHAT, priority=Priority.URGENT)

ids = st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=8, unique=True)
groups = ids.flatmap(
    lambda names: st.tuples(*[st.builds(Group, st.just(name), st.integers(0, 2 * ROWS)) for name in names])
)


def home(session: str, names: list[str]) -> str:
    chosen = choose([Group(name, 0) for name in names], FIM, session, ROWS)
    assert chosen
    return chosen.group_id


@settings(deadline=None)
@given(st.text(min_size=1), ids, st.randoms())
def test_a_session_has_one_home_however_the_groups_are_listed(session: str, names: list[str], random: Random) -> None:
    assert home(session, names) == home(session, random.sample(names, len(names)))


@settings(deadline=None)
@given(st.text(min_size=1), ids)
def test_only_sessions_of_a_group_that_goes_move(session: str, names: list[str]) -> None:
    at = home(session, names)
    for gone in names:
        if gone != at:
            assert home(session, [name for name in names if name != gone]) == at


def test_sessions_spread_over_the_groups() -> None:
    counts = Counter(home(str(session), ["a", "b", "c", "d"]) for session in range(4000))
    assert all(800 < count < 1200 for count in counts.values())  # 1000 expected, 27 standard deviation


@settings(deadline=None)
@given(groups)
def test_chat_goes_to_the_least_load_and_never_beyond_the_rows(groups: tuple[Group, ...]) -> None:
    chosen = choose(groups, CHAT, "", ROWS)
    least = min(group.load for group in groups)
    assert (chosen is None) == (least >= ROWS)
    assert chosen is None or chosen.load == least


@settings(deadline=None)
@given(groups, st.text())
def test_fim_leaves_home_only_when_that_is_full_and_waits_only_when_all_are_overfull(
    groups: tuple[Group, ...], session: str
) -> None:
    chosen = choose(groups, FIM, session, ROWS)
    least = min(group.load for group in groups)
    at_home = max(groups, key=lambda group: affinity(session, group.group_id))
    if session and at_home.load < ROWS:
        assert chosen is at_home
    elif least < ROWS + ROWS // 2:
        assert chosen and chosen.load == least
    else:
        assert chosen is None


holding = ids.flatmap(
    lambda names: st.tuples(
        *[
            st.builds(Group, st.just(name), st.integers(0, 2 * ROWS), st.frozensets(st.sampled_from("abc")))
            for name in names
        ]
    )
)


@settings(deadline=None)
@given(holding, st.sampled_from([replace(CHAT, adapter="a"), replace(FIM, adapter="a", session_id="s")]))
def test_an_adapter_goes_where_it_is_loaded_while_a_row_is_free_there_and_waits_no_longer_than_without_one(
    groups: tuple[Group, ...], request: GenerationRequest
) -> None:
    chosen = choose(groups, request, session_of(request), ROWS)
    holders = [group for group in groups if "a" in group.adapters]
    plain = replace(request, adapter="")
    assert (chosen is None) == (choose(groups, plain, session_of(plain), ROWS) is None)
    if any(holder.load < ROWS for holder in holders):
        assert chosen in holders and chosen is not None and chosen.load < ROWS
    elif chosen is not None and (holders or chosen.load >= ROWS):
        assert chosen.load == min(group.load for group in groups)


@settings(deadline=None)
@given(st.sets(st.text(min_size=1), min_size=2), ids)
def test_sessions_share_the_home_of_an_adapter_that_none_has_and_spread_over_the_groups_that_have_it(
    sessions: set[str], names: list[str]
) -> None:
    request = replace(FIM, adapter="a")
    without, having = [Group(name, 0) for name in names], [Group(name, 0, frozenset("a")) for name in names]
    assert len({choose(without, request, session, ROWS) for session in sessions}) == 1
    for session in sessions:
        chosen = choose(having, request, session, ROWS)
        assert chosen is not None and chosen.group_id == home(session, names)


def test_without_groups_everything_waits() -> None:
    assert choose([], FIM, "s", ROWS) is None


def test_without_a_session_the_head_of_the_file_is_one() -> None:
    head = tuple(range(64))
    here, there, elsewhere = (
        session_of(replace(FIM, prompt_ids=prompt)) for prompt in ((*head, 1, 2), (*head, 3), (7, *head))
    )
    assert here == there != elsewhere
    apart = [replace(FIM, prompt_ids=head, cache_domain="another"), replace(FIM, prompt_ids=head, adapter="a")]
    assert len({here, elsewhere, *map(session_of, apart)}) == 4  # nothing is shared
    assert session_of(replace(FIM, prompt_ids=head, session_id="mine")) == "mine"
    assert session_of(replace(CHAT, session_id="mine")) == ""
