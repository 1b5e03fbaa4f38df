"""Kernel parameters, now and after the next boot."""

from shlex import quote

from pyinfra import host
from pyinfra.api import StringCommand

from kvmhost.facts.sysctl import Parameter
from kvmhost.operations.commands import Commands, operation, unknown
from kvmhost.operations.files import write


@operation()
def parameter(parameter: str, value: str, path: str) -> Commands:
    """
    Have the kernel take a value, and a file of sysctl.d(5) that says so and nothing else.

    + parameter: as sysctl(8) has it
    + value: one word
    + path: the file's absolute path
    """
    present = host.get_fact(Parameter, parameter=parameter, path=path)
    if present is None:
        yield from unknown(f"the kernel's {parameter}")
        return
    text = f"{parameter} = {value}\n"
    if present.file.text != text:
        yield from write(path, present.file.text, text, mode="644")
    if present.value != value:
        yield StringCommand(f"sysctl -q -w {quote(f'{parameter}={value}')}")
