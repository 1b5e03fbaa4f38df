"""Kernel modules that must not be loaded."""

from shlex import quote

from pyinfra import host
from pyinfra.api import StringCommand

from kvmhost.facts.modules import Loaded
from kvmhost.operations.commands import Commands, operation, unknown


@operation()
def unloaded(module: str, dependents: tuple[str, ...] = ()) -> Commands:
    """
    Have a module unloaded now. Something that still uses it makes this fail.

    + module: its name
    + dependents: modules that use it and go first, where they are loaded
    """
    loaded = host.get_fact(Loaded, module=module)
    if loaded is None:
        yield from unknown(f"whether the module {module} is loaded")
    elif loaded:
        first = "".join(
            f"if [ -e /sys/module/{name} ]; then rmmod {name}; fi && "
            for name in map(quote, dependents)
        )
        yield StringCommand(f"{first}rmmod {quote(module)}")
