"""reclab: the parts of an industrial recommender system, each small, real and replaceable.

lab = reclab.open("laptop")     the platform, its logs, stores and trained models
reclab.doctor()                 is everything installed and answering?
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reclab.lab import Lab
    from reclab.lab.doctor import Report

__version__ = "0.1.0"
__all__ = ["doctor", "open"]


def open(scale: str | None = None, seed: int = 0, **options: Any) -> "Lab":
    """Build (once) or load the lab: see ``reclab.lab.open_lab``."""
    from reclab.lab import open_lab

    return open_lab(scale, seed, **options)


def doctor() -> "Report":
    """Check versions, Redis and the machine: see ``reclab.lab.doctor``."""
    from reclab.lab.doctor import doctor as examine

    return examine()
