"""The texts of templates/, filled in; each template stands where its file stands on a host."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

_environment = Environment(
    loader=FileSystemLoader(Path(__file__).parent.parent / "templates"),
    undefined=StrictUndefined,
    keep_trailing_newline=True,
    trim_blocks=True,
    lstrip_blocks=True,
)


def render(path: str, **values: Any) -> str:
    """Return the text of the file at this absolute path, from the template of the same path.

    Raises jinja2.UndefinedError for a value that the template names and `values` lacks.
    """
    return _environment.get_template(f"{path.lstrip('/')}.j2").render(values)
