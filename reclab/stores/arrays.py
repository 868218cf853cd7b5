"""Arrays on disk: one plain ``.npy`` file each, mapped into memory instead of read.

Opening costs next to nothing, whatever the size: the system reads a page when it is first touched,
and two kernels on one machine share it. Maps are copy-on-write: what is written in place (a
near-line update) lands in the memory of the process that writes, never in the file.
Reference: mmap with MAP_PRIVATE, POSIX.1-2017.

Simplified: industry ships such snapshots to its servers and follows a stream of changes from there.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from reclab.core.errors import DataError
from reclab.core.types import Array

MAPPED = 1 << 16  # bytes from which a file is mapped; below, reading it is as fast


def save_arrays(folder: Path, arrays: Mapping[str, Array]) -> None:
    """Write ``<name>.npy`` for each array into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, values in arrays.items():
        np.save(folder / f"{name}.npy", values, allow_pickle=False)


def owned(values: Array) -> Array:
    """The array itself where it may be written, a copy where it is frozen (``stores.fork``): what
    whoever writes in place asks for first.

    >>> shared = np.zeros(2)
    >>> shared.flags.writeable = False
    >>> owned(shared) is shared, owned(np.ones(2)).flags.writeable
    (False, True)
    """
    return values if values.flags.writeable else values.copy()


class Arrays(Mapping[str, Array]):
    """What ``save_arrays`` wrote, each array opened when it is asked for.

    Raises ``DataError`` naming the file that is missing, shortened or not an array.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._names = sorted(file.stem for file in folder.glob("*.npy"))

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, name: str) -> Array:
        file = self.folder / f"{name}.npy"
        try:
            if file.stat().st_size < MAPPED:
                return np.asarray(np.load(file, allow_pickle=False))
            # asarray: a plain view, without the cost that np.memmap adds to every slice
            return np.asarray(np.load(file, mmap_mode="c", allow_pickle=False))
        except (OSError, ValueError, EOFError) as error:
            raise DataError(f"cannot read {file}: {error}") from error
