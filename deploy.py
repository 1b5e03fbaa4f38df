"""The guide, one line a step: bare Linux machines become CloudStack KVM hypervisors.

pyinfra inventories/prod.py deploy.py --dry --diff
"""

from pyinfra import config

from tasks.apparmor_selinux import apparmor_selinux
from tasks.bridges_native import bridges_native
from tasks.bridges_ovs import bridges_ovs
from tasks.cloudstack_agent import cloudstack_agent
from tasks.firewall import firewall
from tasks.libvirt import libvirt
from tasks.ntp import ntp
from tasks.preflight import preflight

config.REQUIRE_PYINFRA_VERSION = "~=3.10.0"

preflight()
ntp()
libvirt()
apparmor_selinux()
bridges_native()
bridges_ovs()
firewall()
cloudstack_agent()
