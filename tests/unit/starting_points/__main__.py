"""Prints the table of docs/network.md: python -m tests.unit.starting_points."""

from importlib import import_module

from tests.unit.starting_points import StartingPoint

BACKENDS = ("ifupdown", "ifcfg")


def points() -> dict[tuple[str, str], StartingPoint]:
    """Return every starting point by its back end and its name."""
    return {
        (backend, point.name): point
        for backend in BACKENDS
        for point in import_module(f"tests.unit.starting_points.{backend}").STARTING_POINTS
    }


def table() -> str:
    """Return the table, in Markdown."""
    rows = [
        f"| `{backend}` | {name} | {point.outcome} | {point.sentence} |"
        for (backend, name), point in points().items()
    ]
    head = "| back end | what is there | what becomes of it | and why |"
    return "\n".join((head, "|---|---|---|---|", *rows))


if __name__ == "__main__":
    print(table())
