"""A child's history is stored or refused in parts, and the rest keeps its place."""

from __future__ import annotations

from wardroom.history import History, HistoryItem
from wardroom.protocol import Error, Item, Transcript

INVALID, HOLE = Error(code="invalid", detail=""), Error(code="conflict", detail="")


def items(*words: str) -> list[HistoryItem]:
    return [HistoryItem(Item(role="user", content=word)) for word in words]


def told(frames: list[Transcript]) -> list[tuple[int, list[str]]]:
    return [(frame.first, [item.content for item in frame.items]) for frame in frames]


def opened() -> History:
    history = History()
    assert history.opened(0, is_first=True) == []
    return history


def test_items_are_settled_when_they_are_acknowledged() -> None:
    history, (a, b) = opened(), items("a", "b")
    assert told(history.add([a, b])) == [(0, ["a", "b"])]
    history.acknowledge(2)
    assert a.kept
    assert b.kept


def test_a_refused_part_is_given_up_and_what_followed_moves_to_its_place() -> None:
    history, (bad,), (good,), (other,) = opened(), items("bad"), items("good"), items("other")
    history.add([bad])
    history.add([good])
    history.add([other])
    assert history.refuse(INVALID) == []
    assert bad.refusal is INVALID
    assert not good.settled
    assert history.refuse(HOLE) == []
    assert told(history.refuse(HOLE)) == [(0, ["good", "other"])]
    assert history.acknowledge(2) == []
    assert good.kept
    assert other.kept


def test_a_hole_with_nothing_before_it_is_given_up() -> None:
    history, (item,) = opened(), items("a")
    history.add([item])
    assert history.refuse(HOLE) == []
    assert item.refusal is HOLE


def test_a_new_connection_sends_what_is_not_settled_again() -> None:
    history, (a, b, c) = opened(), items("a", "b", "c")
    history.add([a])
    history.add([b])
    assert told(history.opened(1, is_first=False)) == [(1, ["b"])]
    assert told(history.add([c])) == [(2, ["c"])]
    assert a.kept
    assert history.acknowledge(2) == []
    assert b.kept
    history.acknowledge(3)
    assert c.kept


def test_what_was_added_while_the_connection_was_down_goes_with_the_next_one() -> None:
    history, (a,) = History(), items("a")
    history.add([a])
    assert told(history.opened(7, is_first=True)) == [(7, ["a"])]
    history.acknowledge(8)
    assert a.kept
