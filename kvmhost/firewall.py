"""Who may reach a port, whatever firewall a host has."""

ANYWHERE = "any"
"""The source of a rule that lets everyone in."""
