"""The order in which replicas are tried: sessions stay, the rest spreads."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from serving.balancing import affinity, session_of

ids = st.lists(st.text(min_size=1, max_size=8), min_size=2, max_size=8, unique=True)


def home(session: str, replicas: list[str]) -> str:
    return max(replicas, key=lambda replica: affinity(session, replica))


@settings(deadline=None)
@given(st.text(), ids, st.randoms())
def test_a_session_has_one_home_however_the_replicas_are_listed(session: str, replicas: list[str], random) -> None:
    shuffled = random.sample(replicas, len(replicas))
    assert home(session, replicas) == home(session, shuffled)


@settings(deadline=None)
@given(st.text(), ids)
def test_only_sessions_of_a_replica_that_goes_move(session: str, replicas: list[str]) -> None:
    at = home(session, replicas)
    for gone in replicas:
        if gone != at:
            assert home(session, [replica for replica in replicas if replica != gone]) == at


def test_sessions_spread_over_the_replicas() -> None:
    counts = Counter(home(str(session), ["a", "b", "c", "d"]) for session in range(4000))
    assert all(800 < count < 1200 for count in counts.values())  # 1000 expected, 27 standard deviation


def test_without_a_session_the_head_of_the_file_is_one() -> None:
    head = tuple(range(64))
    assert session_of("", (*head, 1, 2)) == session_of("", (*head, 3)) != session_of("", (7, *head))
    assert session_of("mine", head) == "mine"
