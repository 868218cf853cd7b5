"""Exercise 3.3: an idempotent consumer (幂等): the same entry twice, one effect.

at least once:  read → effect → commit;  death before the commit = the entry is read again
once in effect  <=  effect and mark in one write, or an effect that repetition does not change

The exercise adds up what was paid for a sample. Two writes, one for the sum and one for "seen",
leave a moment between them in which the process can die: whichever comes first, it is wrong.
Reference: Helland: Idempotence is not a medical condition (CACM 2012); Kreps et al. 2011 (Kafka).

Simplified: one store of plain records; industry uses transactions or a unique key in the database.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from reclab.core.chance import rng
from reclab.learn.exercise import Task
from reclab.learn.probe import Attempt, Case, Misconception, Probe

Delivery = tuple[int, str, float]  # event id, key, money
Handle = Callable[..., Any]


class Died(Exception):
    """The process ends here; nothing after it happens."""


class Store:
    """Records by name, each written whole at once. It outlives the process; ``dies_after``: the
    writes, counted from 1, right after which the process dies."""

    def __init__(self, dies_after: Sequence[int] = ()) -> None:
        self._held: dict[str, Any] = {}
        self._dies, self._writes = set(dies_after), 0

    def get(self, name: str, default: Any = None) -> Any:
        """A copy of a record."""
        held = self._held.get(name, default)
        return held.copy() if hasattr(held, "copy") else held

    def put(self, name: str, record: Any) -> None:
        """Write a record; it is there whole or not at all."""
        self._held[name] = record.copy() if hasattr(record, "copy") else record
        self._writes += 1
        if self._writes in self._dies:
            raise Died


def handle(store, event, key, money):
    """One entry: event id, key of the sample, money. store.get(key)["paid"] is the sum."""
    record = store.get(key, {"paid": 0.0, "seen": []})
    if event in record["seen"]:
        return
    store.put(key, {"paid": record["paid"] + money, "seen": [*record["seen"], event]})


def replay(function: Handle, entries: Sequence[Delivery], dies_after: Sequence[int]) -> Any:
    """(keys,) sums after a consumer has read all entries, beginning again at its last commit after
    each death; it commits every third entry. Keys in order."""
    store, at, deaths = Store(dies_after), 0, 0
    while at < len(entries):
        try:
            for place in range(at, len(entries)):
                function(store, *entries[place])
                if place % 3 == 2:
                    at = place + 1
            at = len(entries)
        except Died:
            deaths += 1
    none = {"paid": 0.0}
    held = [store.get(key, none) for key in sorted({key for _, key, _ in entries})]
    return [one["paid"] if isinstance(one, dict) and "paid" in one else np.nan for one in held]


def once(entries: Sequence[Delivery], dies_after: Sequence[int]) -> Any:
    """(keys,) what was paid, each event counted once."""
    paid = {event: (key, money) for event, key, money in entries}
    keys = sorted({key for key, _ in paid.values()})
    return [sum(money for k, money in paid.values() if k == key) for key in keys]


@dataclass(frozen=True)
class ReplayProbe(Probe):
    """A ``Probe`` whose function is not called by itself, but as the handler of a consumer."""

    def _attempt(self, function: Handle, case: Case) -> Attempt:
        return super()._attempt(lambda *args: replay(function, *args), case)


def _add(store: Store, event: int, key: str, money: float) -> None:
    store.put(key, {"paid": store.get(key, {"paid": 0.0})["paid"] + money})


def _mark_first(store: Store, event: int, key: str, money: float) -> None:
    if store.get(f"seen {event}") is None:
        store.put(f"seen {event}", 1)
        _add(store, event, key, money)


def _mark_after(store: Store, event: int, key: str, money: float) -> None:
    if store.get(f"seen {event}") is None:
        _add(store, event, key, money)
        store.put(f"seen {event}", 1)


def _newest_only(store: Store, event: int, key: str, money: float) -> None:
    record = store.get(key, {"paid": 0.0, "last": -1})
    if event > record["last"]:
        store.put(key, {"paid": record["paid"] + money, "last": event})


def _same_as_last(store: Store, event: int, key: str, money: float) -> None:
    record = store.get(key, {"paid": 0.0, "last": -1})
    if event != record["last"]:
        store.put(key, {"paid": record["paid"] + money, "last": event})


def _by_content(store: Store, event: int, key: str, money: float) -> None:
    record = store.get(key, {"paid": 0.0, "seen": []})
    if money not in record["seen"]:
        store.put(key, {"paid": record["paid"] + money, "seen": [*record["seen"], money]})


def _overwrites(store: Store, event: int, key: str, money: float) -> None:
    store.put(key, {"paid": money})


def _first_only(store: Store, event: int, key: str, money: float) -> None:
    if store.get(key) is None:
        store.put(key, {"paid": money})


_MEMORY: set[int] = set()


def _in_memory(store: Store, event: int, key: str, money: float) -> None:
    if event not in _MEMORY:
        _MEMORY.add(event)
        _add(store, event, key, money)


def _other_name(store: Store, event: int, key: str, money: float) -> None:
    record = store.get(key, {"sum": 0.0, "seen": []})
    if event not in record["seen"]:
        store.put(key, {"sum": record["sum"] + money, "seen": [*record["seen"], event]})


MISCONCEPTIONS = (
    Misconception(
        "every delivery is added",
        _add,
        "After a death the entries since the last commit are delivered again, and phones send "
        "twice: look whether this event is in the sum already.",
    ),
    Misconception(
        "marked, then added",
        _mark_first,
        "The process can die between the two writes. Then the event is marked and not in the sum, "
        "and will be skipped: money is lost. Put the mark and the sum into one record.",
    ),
    Misconception(
        "added, then marked",
        _mark_after,
        "The process can die between the two writes. Then the event is in the sum and not marked, "
        "and comes again: money is doubled. Put the mark and the sum into one record.",
    ),
    Misconception(
        "only what is newer than the last",
        _newest_only,
        "After partitions have moved, entries come in another order: an older event may come after "
        "a newer one, and is not a repetition. Remember which events were counted.",
    ),
    Misconception(
        "only against the one before",
        _same_as_last,
        "A repetition need not follow at once: several entries lie between two commits, and all of "
        "them come again.",
    ),
    Misconception(
        "equal sums are taken for repetitions",
        _by_content,
        "Two payments of the same amount are two events. Only the event id says what is a copy.",
    ),
    Misconception(
        "the latest payment replaces the others",
        _overwrites,
        "Writing the value bears repetition, but a sample can have several payments: the sum of "
        "all different events is asked.",
    ),
    Misconception(
        "one payment a key",
        _first_only,
        "The key is the sample, not the event: further payments of it count too.",
    ),
    Misconception(
        "a memory of its own",
        _in_memory,
        "A set in the process dies with it, and a new process knows nothing; and it outlives the "
        "store, which was emptied here. What must survive belongs into the store.",
    ),
    Misconception(
        "the sum lies elsewhere",
        _other_name,
        'Whoever reads it looks for store.get(key)["paid"]; other fields of the record are yours.',
    ),
)


class Many(list[Delivery]):
    """Entries with a short text."""

    def __repr__(self) -> str:
        return f"{len(self)} entries of {len({key for _, key, _ in self})} keys"


def _many(n: int, keys: int) -> Many:
    chance = rng(3, "exercise-3.3", n)
    plain = [
        (i, f"r{chance.integers(keys)}:v7", float(chance.integers(1, 9)))
        for i in chance.permutation(n).tolist()
    ]
    again = [plain[i] for i in chance.integers(0, n, n // 3).tolist()]
    mixed = [*plain, *again]
    return Many(mixed[i] for i in chance.permutation(len(mixed)).tolist())


A, B = "r1:v7", "r1:v8"
_THREE: list[Delivery] = [(1, A, 5.0), (2, A, 3.0), (3, B, 4.0)]
CASES = (
    Case("three payments, nothing happens", (_THREE, [])),
    Case("dead after the first write", (_THREE, [1])),
    Case("dead after the second write", (_THREE, [2])),
    Case("dead after the third write", (_THREE, [3])),
    Case("dead again and again", ([*_THREE, (4, B, 1.0), (5, A, 2.0)], [1, 3, 4, 6, 7])),
    Case("an entry sent twice, with others between", ([*_THREE, (1, A, 5.0)], [])),
    Case("two payments of the same amount", ([(1, A, 5.0), (2, A, 5.0)], [])),
    Case("the newer event comes first", ([(9, A, 2.0), (4, A, 3.0), (9, A, 2.0)], [])),
    Case("120 entries, a death at every tenth write", (_many(90, 12), list(range(5, 300, 10)))),
)

TASK = Task(
    id="3.3",
    title="Once in effect",
    asked="Write handle(store, event, key, money), called for each entry that a consumer reads. "
    'Afterwards store.get(key)["paid"] shall be the sum of money over the different events of the '
    "key. store.get(name, default) reads a record, store.put(name, record) writes one whole; both "
    "are the store's only verbs. The process may die right after any put, and is then started "
    "again: entries since the last commit are delivered once more, some entries come twice anyway, "
    "and not in the order of their ids. The record may have fields of your own.",
    starter="def handle(store, event, key, money):\n"
    '    """One entry: event id, key of the sample, money."""\n    ...',
    judge=ReplayProbe(
        once,
        CASES,
        MISCONCEPTIONS,
        praise="Behind a real log it can now be killed: own_consumer().",
    ),
    hints=(
        "What has to be known to tell a repetition from a new event? Where does it have to lie so "
        "that it survives the process?",
        "With two puts there is a moment between them. Play it through with a death in that "
        "moment, for both orders.",
        'One record for the key, with the sum and the events that are in it: {"paid": …, "seen": '
        "[…]}. If event is in record['seen'], return; else put the new record, once.",
    ),
    solution=handle,
    why="A log can promise that an entry is delivered at least once, never that it takes effect "
    "once: only who writes the effect can see to that. One atomic write that holds both the effect "
    "and its mark has no moment in between. Our label store does it by an effect that repetition "
    "cannot change: the latest value under request, item and kind.",
    when_slow="A record holds few events; do not read all records for each entry.",
    limit_s=10.0,
)
