"""The network as a netplan file, carried out by systemd-networkd.

Source: netplan(5), for netplan 0.104 and later.
"""

from kvmhost.network.backends.backend import Backend
from kvmhost.network.backends.netplan.files import PATHS
from kvmhost.network.backends.netplan.interfaces import parse
from kvmhost.network.backends.netplan.plan import plan
from kvmhost.network.backends.netplan.render import render

BACKEND = Backend(PATHS, render, parse, plan)
