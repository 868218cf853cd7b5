"""Fork: a second state that shares all arrays with the first until one is written (写时复制).

    fork(x)    the objects of x, copied; their arrays, shared
    freeze(x)  none of these arrays can be written any more
    owned(a)   what a writer takes first: the array, or a copy of it where it is frozen
So a frozen state is immutable for whoever holds it, and its next version costs only what changes.
Reference: McKenney and Slingwine 1998 (read-copy-update); Driscoll et al. 1989 (persistence).

Simplified: whole arrays are copied; industry copies pages or shards of them.
"""

import copy
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import numpy as np
from scipy import sparse

from reclab.core.types import Array

T = TypeVar("T")
Kinds = tuple[type, ...]


def fork(state: T, shared: Kinds = (), shallow: Kinds = ()) -> T:
    """A copy of reclab's own objects and of plain containers in ``state``, references among them
    kept. Shared: arrays, foreign objects, those of ``shared``; of ``shallow`` ones the object is
    copied, not what it holds.

    >>> from reclab.core.tables import Table
    >>> a = [Table({"x": np.zeros(3)})]
    >>> b = fork(a)
    >>> b[0] is a[0], b[0]["x"] is a[0]["x"]
    (False, True)
    """
    memo: dict[int, tuple[object, object]] = {}

    def copied(x: Any) -> Any:
        if _plain(x) or isinstance(x, shared):
            return x
        known = memo.get(id(x))
        if known is not None:
            return known[1]
        if isinstance(x, tuple):
            parts = [copied(part) for part in x]
            new: Any = type(x)(*parts) if hasattr(x, "_fields") else tuple(parts)
            memo[id(x)] = x, new
            return new
        new = copy.copy(x)
        memo[id(x)] = x, new  # the original too, so that its id stays taken
        if not isinstance(x, shallow):
            _refill(new, copied)
        return new

    return copied(state)  # type: ignore[no-any-return]


def _plain(x: object) -> bool:
    """Not to be copied: neither a container nor one of ours."""
    if isinstance(x, (dict, list, set, tuple)) or sparse.issparse(x):
        return False
    return isinstance(x, type) or not type(x).__module__.startswith("reclab.")


def _refill(new: Any, copied: Callable[[Any], Any]) -> None:
    """Put copies in the places of what a fresh copy still shares with its original."""
    if isinstance(new, dict):
        for key, value in new.items():
            new[key] = copied(value)
    elif isinstance(new, list):
        new[:] = [copied(value) for value in new]
    elif hasattr(new, "__dict__") and not sparse.issparse(new):
        for name, value in vars(new).items():
            vars(new)[name] = copied(value)


def arrays_in(state: object, shared: Kinds = ()) -> Iterator[Array]:
    """Every array that ``state`` holds, once, those inside sparse matrices too."""
    seen: dict[int, object] = {}
    left = [state]
    while left:
        x = left.pop()
        if id(x) in seen or isinstance(x, shared):
            continue
        if isinstance(x, np.ndarray):
            seen[id(x)] = x
            yield x
        elif not _plain(x):
            seen[id(x)] = x
            inner: Any = x if isinstance(x, (list, tuple, set)) else None
            if inner is None:
                inner = x.values() if isinstance(x, dict) else getattr(x, "__dict__", {}).values()
            left.extend(inner)


def freeze(state: object, shared: Kinds = ()) -> None:
    """Forbid writing to the arrays of ``state``: whoever tries gets a ``ValueError``."""
    for array in arrays_in(state, shared):
        if array.flags.writeable:
            array.flags.writeable = False


def nbytes(*states: object, shared: Kinds = ()) -> int:
    """Bytes of the arrays of some states together; what they share counts once."""
    memory = {}
    for array in arrays_in(states, shared):
        base = array
        while isinstance(base.base, np.ndarray):
            base = base.base
        memory[id(base)] = base.nbytes
    return sum(memory.values())
