"""What configures a network: a package each, by the name that the settings give it."""

from collections.abc import Mapping
from types import MappingProxyType

from kvmhost.network.backends import ifcfg, ifupdown, netplan, networkmanager
from kvmhost.network.backends.backend import Backend

BACKENDS: Mapping[str, Backend] = MappingProxyType(
    {
        "ifupdown": ifupdown.BACKEND,
        "netplan": netplan.BACKEND,
        "networkmanager": networkmanager.BACKEND,
        "ifcfg": ifcfg.BACKEND,
    }
)
