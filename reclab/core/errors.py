"""Errors that name the field, the value it got, and a good one."""

from collections.abc import Callable
from typing import Any


class ReclabError(Exception):
    """Base of every error that reclab raises on purpose."""


class ConfigError(ReclabError, ValueError):
    """A setting is out of its range."""


class DataError(ReclabError, ValueError):
    """Input data cannot be used as they are; the message says what was expected."""


class NotBuilt(ReclabError, RuntimeError):
    """Something was asked before it was fitted, built or opened."""


def check(
    ok: Callable[[Any], bool] | bool, field: str, value: object, rule: str, typical: str
) -> None:
    """Raise ``ConfigError`` unless the value is good.

    >>> check(0 >= 1, "PreRankConfig.keep", 0, "be >= 1", "100-1000")
    Traceback (most recent call last):
    ...
    reclab.core.errors.ConfigError: PreRankConfig.keep must be >= 1, got 0 (typical: 100-1000)
    """
    if not (ok(value) if callable(ok) else ok):
        raise ConfigError(f"{field} must {rule}, got {value!r} (typical: {typical})")


def check_int(field: str, value: object, low: int, high: int, typical: str) -> None:
    """Raise ``ConfigError`` unless ``value`` is a whole number in ``low … high``.

    >>> check_int("MMRConfig.keep", 10, 1, 100, "10")
    """
    whole = isinstance(value, int) and not isinstance(value, bool)
    rule = f"be >= {low}" if whole and value < low else f"be a whole number in {low}..{high}"  # type: ignore[operator]
    check(whole and low <= value <= high, field, value, rule, typical)  # type: ignore[operator]


def check_float(field: str, value: object, low: float, high: float, typical: str) -> None:
    """Raise ``ConfigError`` unless ``value`` is a number in ``[low, high]`` (NaN is not).

    >>> check_float("MMRConfig.lam", 0.7, 0.0, 1.0, "0.5-0.9")
    """
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    check(number and low <= value <= high, field, value, f"be in [{low}, {high}]", typical)  # type: ignore[operator]
