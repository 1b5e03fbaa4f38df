"""The network as the ifcfg files of Red Hat's network scripts, which EL had up to release 8.

A file holds all that its interface needs, for Open vSwitch too: ifdown-ovs deletes a bridge, and
with it the fake bridges, whenever the network service stops, so that ifup-ovs has to make them
anew at each start.

With IPV6INIT=no the scripts configure no IPv6, but the kernel does: a bridge would have a
link-local address, and take others from routers. So a file of sysctl.d(5) says which have no IPv6;
udev applies it to each interface that appears (systemd's 99-systemd.rules).

Sources: initscripts' sysconfig.txt, Open vSwitch's README.RHEL.rst, ovs-vsctl(8) and the guide's
"Configure in RHEL or CentOS".
"""

from kvmhost.network.backends.backend import Backend
from kvmhost.network.backends.ifcfg.files import PATHS
from kvmhost.network.backends.ifcfg.interfaces import parse
from kvmhost.network.backends.ifcfg.plan import plan
from kvmhost.network.backends.ifcfg.render import removed, render

BACKEND = Backend(PATHS, render, parse, plan, removed)
