"""Configure the security policies (guide, 'Configure the Security Policies')."""

from pyinfra.api import deploy

from kvmhost import inventory
from kvmhost.operations import apparmor, selinux


@deploy("AppArmor and SELinux")
def apparmor_selinux() -> None:
    """Have neither stand in libvirt's way, where the kernel runs it."""
    settings = inventory.settings()
    selinux.mode(
        name="Set SELinux's mode",
        mode=settings.security.selinux_mode,
    )
    if settings.security.apparmor_profiles:
        apparmor.disable(
            name="Disable AppArmor's profiles for libvirt",
            profiles=settings.security.apparmor_profiles,
        )
