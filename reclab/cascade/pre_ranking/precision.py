"""Precision of the item vectors (半精度, int8 量化): what a number of a stored vector takes.

    float32  4 bytes    float16  2 bytes    int8  1 byte:  c_id = round(v_id / s_d)
    u · v_i ~ (u ∘ s) · c_i,    s_d = max_i |v_id| / 127    (the scale goes into the user's vector)

A candidate's arithmetic is tiny; what costs is fetching its vector from memory, a row here and a
row there. Fewer bytes are fewer cache lines, and a catalogue that fits where it did not.
Reference: Jacob et al., Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference, CVPR 2018.

Simplified: industry multiplies whole numbers as such, and trains the towers to bear the rounding.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch

from reclab.core.errors import DataError, check
from reclab.core.types import Array

PRECISIONS = ("float32", "float16", "int8")


@dataclass(frozen=True)
class StoredVectors:
    """``values`` (N, d) in one of PRECISIONS; a vector is ``values * scale``, scale (d,) float32.

    >>> held = StoredVectors.of(np.array([[1.0, -2.0], [0.5, 1.0]]), "int8")
    >>> held.values.tolist(), held.rows(np.array([0])).round(2).tolist()
    ([[127, -127], [64, 64]], [[1.0, -2.0]])
    """

    values: Array
    scale: Array

    @classmethod
    def of(cls, vectors: Array, precision: str) -> Self:
        """Vectors (N, d) of floats. Raises ``DataError`` when one is NaN or too large."""
        words = f"be one of {', '.join(PRECISIONS)}"
        check(precision in PRECISIONS, "precision", precision, words, "float32")
        vectors = np.asarray(vectors, np.float32)
        largest = np.abs(vectors).max(0, initial=0.0)
        limit = float(np.finfo(np.float16 if precision == "float16" else np.float32).max)
        if not (largest <= limit).all():
            bad = int((~(np.abs(vectors) <= limit).all(1)).sum())
            raise DataError(
                f"{bad} of {len(vectors)} item vectors hold NaN or a number beyond {precision}: "
                "the weights of the model are broken"
            )
        if precision != "int8":
            return cls(vectors.astype(precision), np.ones(vectors.shape[1], np.float32))
        scale = np.where(largest > 0, largest / 127, 1.0).astype(np.float32)
        return cls(np.rint(vectors / scale).astype(np.int8), scale)

    def __len__(self) -> int:
        return len(self.values)

    @property
    def precision(self) -> str:
        """One of PRECISIONS."""
        return str(self.values.dtype)

    @property
    def nbytes(self) -> int:
        """Bytes that the whole catalogue takes."""
        return self.values.nbytes + self.scale.nbytes

    def rows(self, item_row: Array) -> Array:
        """(n, d) float32 vectors of items (n,), up to the rounding."""
        found = self._fetched(item_row)
        return np.asarray(found * self.scale) if self.precision == "int8" else found

    def dots(self, users: Array, request_row: Array, item_row: Array) -> Array:
        """(n,) inner products of the requests' vectors (B, d) and their candidates (n,)."""
        found, users = self._fetched(item_row), users * self.scale
        if len(users) == 1:
            return np.asarray(found @ users[0])
        return np.asarray(np.einsum("nd,nd->n", found, users.take(request_row, 0)))

    def _fetched(self, item_row: Array) -> Array:
        """(n, d) float32 values without the scale."""
        found = self.values.take(item_row, 0)
        if self.precision == "float16":  # three times as fast as NumPy's own conversion
            return np.asarray(torch.from_numpy(found).float().numpy())
        return found.astype(np.float32, copy=False)
