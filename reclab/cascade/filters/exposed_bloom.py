"""Already exposed, from a Bloom filter (布隆过滤器): months of exposures in a few bits a pair.

    m = -n ln p / (ln 2)^2 bits,   k = m / n ln 2 hash functions,   h_i = h_1 + i h_2  (mod m)
    false positives = (1 - e^(-k n / m))^k;   false negatives: none

n pairs (user, item), p the rate aimed at. What was shown is never shown again; a share p of what
was not is lost too. Reference: Bloom 1970; double hashing, Kirsch and Mitzenmacher 2006.
Simplified: industry keeps one array a user and week, and forgets by dropping the oldest week.
"""

from dataclasses import dataclass
from math import ceil, exp, log
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from reclab.cascade.batch import Batch
from reclab.cascade.filters.hashing import splitmix64
from reclab.cascade.filters.reasons import drop
from reclab.core.errors import DataError, check_float, check_int
from reclab.core.stage import StageResult
from reclab.core.types import Array, Candidates
from reclab.stores.forward_index import ForwardIndex

FILE = "seen_bloom.npz"
CHUNK = 1 << 16  # pairs hashed at once: bounds the temporaries of adding a whole log


@dataclass(frozen=True)
class BloomConfig:
    """What the bit array is sized for."""

    n: int = 1_000_000
    """(user, item) pairs expected (1 … 10^10)"""
    p: float = 0.01
    """false positive rate once ``n`` pairs are in (10^-6 … 0.5)"""

    def __post_init__(self) -> None:
        check_int("BloomConfig.n", self.n, 1, 10**10, "exposures of the months remembered")
        check_float("BloomConfig.p", self.p, 1e-6, 0.5, "0.001-0.01")

    @property
    def n_bits(self) -> int:
        """m, at least a word."""
        return max(64, ceil(-self.n * log(self.p) / log(2) ** 2))

    @property
    def n_hashes(self) -> int:
        """k, at least one."""
        return max(1, round(self.n_bits / self.n * log(2)))


class SeenBloom:
    """The set of (user, item) pairs shown. ``n_added`` counts the pairs that changed a bit: pairs
    added twice count once, and those that had been false positives not at all, so that
    ``expected_rate`` is a little low for a large ``p`` (at 0.1: 0.097, measured 0.100).

    >>> seen = SeenBloom(BloomConfig(n=100, p=0.01))
    >>> seen.add(np.array([7, 7]), np.array([3, 4]))
    >>> seen.contains(np.array([7, 7, 8]), np.array([3, 5, 3])).tolist()
    [True, False, False]
    """

    def __init__(self, config: BloomConfig | None = None) -> None:
        self.config = config or BloomConfig()
        self.n_added = 0
        self._bytes = np.zeros(-(-self.config.n_bits // 8), np.uint8)

    def add(self, user_id: Array, item_id: Array) -> None:
        """Remember the pairs; ids (n,) or one user for all items."""
        user_id, item_id = np.broadcast_arrays(user_id, item_id)
        for at in range(0, len(item_id), CHUNK):
            part = slice(at, at + CHUNK)
            pair = _pair(user_id[part], item_id[part])
            place = self._places(pair)
            self.n_added += len(np.unique(pair[~self._are_set(place)]))
            np.bitwise_or.at(self._bytes, place >> 3, _bit(place))

    def contains(self, user_id: Array, item_id: Array) -> Array:
        """(n,) bool: certainly False where the pair was never added, True mostly rightly."""
        user_id, item_id = np.broadcast_arrays(user_id, item_id)
        return self._are_set(self._places(_pair(user_id, item_id)))

    def expected_rate(self) -> float:
        """False positive rate by the formula, for the pairs that are in."""
        c = self.config
        return float((1 - exp(-c.n_hashes * self.n_added / c.n_bits)) ** c.n_hashes)

    def _places(self, first: Array) -> Array:
        """(k, n) int64 bit numbers of the hashed pairs (n,)."""
        step = splitmix64(first)
        i = np.arange(self.config.n_hashes, dtype=np.uint64)[:, None]
        return ((first + i * step) % np.uint64(self.config.n_bits)).astype(np.int64)

    def _are_set(self, place: Array) -> Array:
        return np.asarray((self._bytes[place >> 3] & _bit(place)).all(0))

    def save(self, folder: Path) -> None:
        """Write ``seen_bloom.npz`` into the folder."""
        folder.mkdir(parents=True, exist_ok=True)
        about = {"n": self.config.n, "p": self.config.p, "n_added": self.n_added}
        held = {name: np.array(value) for name, value in about.items()}
        np.savez(folder / FILE, allow_pickle=False, bits=self._bytes, **held)

    @staticmethod
    def load(folder: Path) -> "SeenBloom":
        """Read what ``save`` wrote. Raises ``DataError`` when it is missing or damaged."""
        try:
            with open(folder / FILE, "rb") as file, np.load(file, allow_pickle=False) as held:
                seen = SeenBloom(BloomConfig(int(held["n"]), float(held["p"])))
                seen.n_added, bits = int(held["n_added"]), held["bits"]
        except (OSError, ValueError, KeyError, BadZipFile) as error:
            raise DataError(f"cannot load the Bloom filter from {folder}: {error}") from error
        if bits.shape != seen._bytes.shape:
            raise DataError(f"{folder / FILE} holds {len(bits)} bytes, not {len(seen._bytes)}")
        seen._bytes = bits
        return seen


def _pair(user_id: Array, item_id: Array) -> Array:
    """(n,) uint64. The user is mixed before the item joins: (1, 2) is not (2, 1)."""
    return splitmix64(splitmix64(user_id.astype(np.uint64)) ^ item_id.astype(np.uint64))


def _bit(place: Array) -> Array:
    """The bit of each place within its byte, as uint8."""
    return np.left_shift(np.uint8(1), (place & 7).astype(np.uint8))


def false_positive_rates(
    bloom: SeenBloom, user_id: Array, item_id: Array, seen: Array
) -> tuple[float, float]:
    """(measured, by the formula): the share that ``bloom`` claims of the pairs (n,) which the
    exact set ``seen`` (n,) bool does not hold. Measured is NaN where it holds all."""
    absent = ~seen
    claimed = bloom.contains(user_id[absent], item_id[absent])
    return float(claimed.mean()) if len(claimed) else float("nan"), bloom.expected_rate()


class SeenBloomFilter:
    """Drop what ``seen`` says the request's user was shown. It knows no time: what was added after
    a past request counts for it too."""

    name = "exposed_bloom"

    def __init__(self, seen: SeenBloom, index: ForwardIndex) -> None:
        self.seen, self.index = seen, index

    def __call__(self, batch: Batch, candidates: Candidates) -> StageResult:
        user_id = np.array([request.user_id for request in batch.requests], np.int64)
        item_id = self.index.ids[candidates.item_row]
        shown = self.seen.contains(user_id[candidates.request_row], item_id)
        return drop(candidates, ~shown, "already exposed (Bloom)")
