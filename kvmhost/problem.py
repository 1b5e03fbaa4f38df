"""What is wrong with a setting, in terms of the administrator who wrote it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """One setting that cannot be used: its key, its value, and what would be accepted."""

    key: str
    value: object
    accepted: str
