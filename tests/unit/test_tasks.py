"""Operations of the tasks: what a name stands for is the same on every host."""

import ast
from pathlib import Path

import pytest

TASKS = Path(__file__).parents[2] / "tasks"


def named(path: Path) -> list[ast.expr]:
    """Return the names that a module gives to its operations."""
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    return [word.value for call in calls for word in call.keywords if word.arg == "name"]


@pytest.mark.parametrize("path", sorted(TASKS.glob("[!_]*.py")), ids=lambda path: path.stem)
def test_no_operations_name_depends_on_the_host(path: Path) -> None:
    names = named(path)
    assert names
    assert all(isinstance(name, ast.Constant) for name in names)
