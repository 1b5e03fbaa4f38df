"""Progress lines with the seconds since the command started."""

import time
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Progress:
    """Prints what is being done, and when it began."""

    started: float = field(default_factory=time.monotonic)

    def __call__(self, message: str) -> None:
        print(f"[{time.monotonic() - self.started:6.1f} s] {message}", flush=True)
