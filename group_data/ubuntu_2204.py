"""Ubuntu 22.04, for hosts of the group ubuntu: what differs there, so this group comes after it."""

releases = ("22.04",)
# its libvirt has no modular daemons to look for
libvirt_remote_mode = None
