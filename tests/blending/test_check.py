"""Checking against a loop, and the door against its rules."""

import threading
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reclab.blending.check import ELSEWHERE, NO_NUMBER, OVER, TWICE, UNKNOWN, reason_of
from reclab.blending.door import Door
from reclab.core.types import Candidates, Request

offered = st.tuples(
    st.integers(0, 2),  # request
    st.integers(0, 3),  # business
    st.integers(-1, 6),  # item row
    st.booleans(),  # said
)


def by_loop(rows, limit):
    """Why each is dropped: the rules, one candidate after the other, best place first."""
    reason, place, seen = [-1] * len(rows), {}, {}
    places = []
    for request, business, _, _ in rows:
        places.append(place.setdefault((request, business), 0))
        place[request, business] += 1
    for n, (_, _, item, said) in enumerate(rows):
        if item < 0:
            reason[n] = UNKNOWN
        elif not said:
            reason[n] = NO_NUMBER
        elif places[n] >= limit:
            reason[n] = OVER
    for n in sorted(range(len(rows)), key=lambda n: (places[n], rows[n][1])):
        request, business, item, _ = rows[n]
        if reason[n] < 0 and (request, item) in seen:
            reason[n] = TWICE if seen[request, item] == business else ELSEWHERE
        elif reason[n] < 0:
            seen[request, item] = business
    return reason, places


@given(st.lists(offered, max_size=40), st.integers(1, 5))
def test_reasons_are_those_of_a_loop(rows, limit):
    rows = sorted(rows, key=lambda row: row[:2])
    expected, places = by_loop(rows, limit)
    request, business, item, said = np.array(rows, int).reshape(-1, 4).T
    columns = {"business": business.astype(np.int8), "place": np.array(places, np.int32)}
    candidates = Candidates(3, request, item, columns)
    got = reason_of(candidates, np.full(len(rows), limit), said.astype(bool))
    assert got.tolist() == expected


# ---- the door ------------------------------------------------------------------------------


class Served:
    """What goes through a door, and in which company. Holds the door until told to let go."""

    def __init__(self):
        self.groups, self.go = [], threading.Event()

    def __call__(self, requests, came_ms, notes, sent, answer):
        self.groups.append([request.user_id for request in requests])
        self.go.wait(5)
        sent()
        if any(request.user_id == 13 for request in requests):
            raise ZeroDivisionError("thirteen")
        for row, request in enumerate(requests):
            answer(row, request.user_id * 10)


class Inside(Served):
    """The door is free again at once; those inside stay until told to go."""

    def __call__(self, requests, came_ms, notes, sent, answer):
        sent()
        super().__call__(requests, came_ms, notes, sent, answer)


def crowd(door, users):
    """A thread a user; their answers, or errors, by user."""
    answers = {}

    def work(user):
        try:
            answers[user] = door.pass_through(Request(user, 0), float(user))
        except ZeroDivisionError as error:
            answers[user] = error

    threads = [threading.Thread(target=work, args=(user,)) for user in users]
    for thread in threads:
        thread.start()
        time.sleep(0.01)  # in this order
    return threads, answers


def test_one_goes_alone_and_those_who_wait_go_together_in_groups():
    served = Served()
    threads, answers = crowd(Door(served, most=3), range(8))
    served.go.set()
    for thread in threads:
        thread.join(5)
    assert served.groups == [[0], [1, 2, 3], [4, 5, 6], [7]]
    assert answers == {user: user * 10 for user in range(8)}


def test_with_two_groups_inside_the_next_waits_for_company():
    served = Inside()
    threads, _ = crowd(Door(served, most=10, gather_ms=400), range(5))
    served.go.set()
    for thread in threads:
        thread.join(5)
    assert served.groups == [[0], [1], [2, 3, 4]]


def test_who_can_be_answered_at_once_leaves_and_the_others_go_on():
    """The leader of [2, 3, 4] is answered at once; 3 takes the group on; 4 is answered at once."""
    served = Inside()

    def at_once(requests, came_ms, answer):
        for row, request in enumerate(requests):
            if request.user_id % 2 == 0:
                answer(row, -request.user_id)
        return ("noted",)

    threads, answers = crowd(Door(served, 10, 300, at_once), [1, 5, 2, 3, 4, 7])
    for thread in (threads[2], threads[4]):
        thread.join(5)
    assert answers == {2: -2, 4: -4}
    served.go.set()
    for thread in threads:
        thread.join(5)
    assert served.groups == [[1], [5], [3, 7]]
    assert answers == {1: 10, 5: 50, 2: -2, 3: 30, 4: -4, 7: 70}


def test_an_error_before_the_businesses_are_asked_reaches_all_of_the_group():
    def at_once(requests, came_ms, answer):
        answer(0, "mine")
        raise ZeroDivisionError("at once")

    served = Served()
    served.go.set()
    door = Door(served, 10, 0, at_once)
    assert door.pass_through(Request(1, 0), 0.0) == "mine"
    assert served.groups == []
    door.at_once = None
    assert door.pass_through(Request(1, 0), 0.0) == 10


def test_an_error_reaches_all_who_went_together_and_nobody_else():
    served = Served()
    threads, answers = crowd(Door(served, most=2), [1, 12, 13, 2])
    served.go.set()
    for thread in threads:
        thread.join(5)
    assert served.groups == [[1], [12, 13], [2]]
    assert answers[1] == 10 and answers[2] == 20
    assert isinstance(answers[12], ZeroDivisionError) and answers[12] is answers[13]


def test_an_interrupted_caller_leaves_the_door_to_the_next(monkeypatch):
    """Two are inside; the third, who waits for company, is interrupted; the fourth leads."""
    served = Inside()
    door = Door(served, most=10, gather_ms=50)
    threads, answers = crowd(door, [0, 1])
    real = time.sleep

    def interrupted(seconds):
        real(seconds)
        monkeypatch.setattr("reclab.blending.door.sleep", real)
        raise KeyboardInterrupt

    monkeypatch.setattr("reclab.blending.door.sleep", interrupted)
    fourth = threading.Timer(0.02, lambda: answers.update({3: door.pass_through(Request(3, 0), 0)}))
    fourth.start()
    with pytest.raises(KeyboardInterrupt):
        door.pass_through(Request(2, 0), 0.0)
    served.go.set()
    for thread in (*threads, fourth):
        thread.join(5)
    assert served.groups == [[0], [1], [3]] and answers == {0: 0, 1: 10, 3: 30}


def test_the_door_is_free_again_after_an_error():
    served = Served()
    served.go.set()
    door = Door(served, most=4)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            door.pass_through(Request(13, 0), 0.0)
    assert door.pass_through(Request(4, 0), 0.0) == 40
