"""Plain text tables, for results that a person reads in a terminal."""

from collections.abc import Iterable, Sequence
from textwrap import wrap

_WIDEST_COLUMN = 60


def render(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return `rows` under `header` as text in aligned columns, long cells wrapped.

    Every row has as many cells as the header; a cell is wrapped at 60 characters.
    """
    cells = [[_wrapped(cell) for cell in row] for row in (header, *rows)]
    widths = [max(len(line) for row in cells for line in row[i]) for i in range(len(header))]
    head, *body = [_lines(row, widths) for row in cells]
    rule = "  ".join("-" * width for width in widths)
    return "\n".join([*head, rule, *(line for lines in body for line in lines)])


def _wrapped(cell: str) -> list[str]:
    return wrap(cell, _WIDEST_COLUMN, break_on_hyphens=False) or [""]


def _lines(row: Sequence[Sequence[str]], widths: Sequence[int]) -> list[str]:
    height = max(len(cell) for cell in row)
    padded = [[*cell, *[""] * (height - len(cell))] for cell in row]
    return [
        "  ".join(cell[i].ljust(width) for cell, width in zip(padded, widths, strict=True)).rstrip()
        for i in range(height)
    ]
