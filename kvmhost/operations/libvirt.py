"""What libvirt on a host must be able to do."""

from difflib import get_close_matches

from pyinfra import host

from kvmhost.facts.libvirt import CpuModels, Versions
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
def known_cpu_model(model: str) -> Commands:
    """
    Refuse a CPU model that this host's libvirt does not know: guests would get a bare CPU.

    + model: the name, as `virsh cpu-models x86_64` shows it
    """
    models = host.get_fact(CpuModels)
    if models and model not in models:
        near = ", ".join(get_close_matches(model, models)) or ", ".join(sorted(models))
        yield from fail(f"guest_cpu_model {model} is unknown to this host's libvirt; near: {near}")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in version.split("."))
