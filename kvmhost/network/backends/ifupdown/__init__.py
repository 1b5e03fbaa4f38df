"""The network as ifupdown's /etc/network/interfaces, with what other packages add to it.

They are bridge-utils, vlan and, for a bond, ifenslave.

With Open vSwitch the stanzas only bring up and address what its own database defines and its
service has made before: openvswitch-switch's own integration would delete a bridge, with
the guests' ports, on every ifdown.

Sources: interfaces(5), bridge-utils-interfaces(5), vlan-interfaces(5), ifenslave's README.Debian
and the guide's "Configure in Ubuntu".
"""

from kvmhost.network.backends.backend import Backend
from kvmhost.network.backends.ifupdown.files import PATHS
from kvmhost.network.backends.ifupdown.interfaces import parse
from kvmhost.network.backends.ifupdown.plan import plan
from kvmhost.network.backends.ifupdown.render import render

BACKEND = Backend(PATHS, render, parse, plan)
