"""What libvirt on a host must be able to do."""

from pyinfra import host

from kvmhost.facts.libvirt import GuestCpu, Versions
from kvmhost.guest_cpu import RUNS
from kvmhost.operations.commands import Commands, fail, operation, unknown


@operation()
def minimum_versions(libvirt: str, qemu: str) -> Commands:
    """
    Refuse a host whose libvirt or QEMU is too old. What a package has yet to bring is not judged.

    + libvirt: the oldest libvirt accepted, such as 1.2.0
    + qemu: the oldest QEMU accepted, such as 1.5.0
    """
    present = host.get_fact(Versions)
    if present is None:
        yield from unknown("the versions of libvirt and QEMU")
        return
    for program, version, minimum in (
        ("libvirt", present.libvirt, libvirt),
        ("QEMU", present.qemu, qemu),
    ):
        if version is not None and _numbers(version) < _numbers(minimum):
            yield from fail(f"{program} {version} is too old: CloudStack needs {minimum} or newer")


@operation()
def guest_cpu(model: str, features: tuple[str, ...], judged: bool) -> Commands:
    """
    Refuse a host that cannot run the guests' CPU: guests would not start, or get a bare CPU.

    + model: the CPU's model, as `virsh cpu-models x86_64` shows it
    + features: the features that it has besides, or, after a minus, has not
    + judged: whether this host has to run it; else it is enough that libvirt knows all names
    """
    said = host.get_fact(GuestCpu, model=model, features=features)
    if said is None:
        if judged and host.state.is_executing:  # before, libvirt may have yet to be installed
            yield from fail(f"libvirt does not say whether this host runs guest_cpu_model {model}")
    elif said != RUNS and (judged or said.startswith("Unknown")):
        cpu = " ".join((model, *features))
        yield from fail(f"libvirt says of the guests' CPU, {cpu}: {said}")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in version.split("."))
