"""The network as NetworkManager's connection profiles, keyfiles, for version 1.40 and later.

With Open vSwitch the profiles only bring up and address what its own database defines.
NetworkManager's plugin for it knows ports with a tag but no fake bridges, and CloudStack's agent
takes for a label only what `ovs-vsctl list-br` names. Without that plugin (on EL a package of its
own, NetworkManager-ovs) the bridges are "generic" devices, which a profile may address; with it
they cannot be had, because it addresses only what it has made itself. NetworkManager leaves such
devices alone as long as they are down, if its configuration does not say that they are its own.

Sources: nm-settings-keyfile(5), NetworkManager.conf(5), nm-openvswitch(7) and nmcli(1).
"""

from kvmhost.network.backends.backend import Backend
from kvmhost.network.backends.networkmanager.interfaces import parse
from kvmhost.network.backends.networkmanager.plan import plan
from kvmhost.network.backends.networkmanager.render import PATHS, removed, render

BACKEND = Backend(PATHS, render, parse, plan, removed)
