"""The routes of netplan's definitions."""

from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from typing import Any

from kvmhost.network.backends.netplan.files import Definition, is_true, number, to_text
from kvmhost.network.interfaces import Address, Interface, Route

_ROUTE_DEFAULTS = {"type": "unicast", "scope": "global", "table": "254"}
_DEFAULT_ROUTES = ("default", "0.0.0.0/0", "::/0")
ANYWHERE = {4: "0.0.0.0/0", 6: "::/0"}
_PLACES = {"via", "metric", "table", "type"}
"""What a default route has one of unless it is the preferred one of the main table."""
PLAIN_ROUTE = {"to", "via", "metric"}
_METRIC6 = 1
"""Of our IPv6 default route: those that routers announce get 100 to 2048 from networkd."""


def routes_of(definition: Definition) -> Iterator[dict[str, Any]]:
    """Return every route, without what is so anyway."""
    for route in definition.get("routes") or ():
        yield {
            key: value
            for key, value in route.items()
            if _ROUTE_DEFAULTS.get(key) != value and (key != "on-link" or is_true(value))
        }
    for key in ("gateway4", "gateway6"):
        if key in definition:
            yield {"to": "default", "via": definition[key]}


def default_gateway(route: Definition) -> Iterator[Address]:
    """Read a default gateway that is no less preferred than ours; 0.0.0.0 is the link itself."""
    if _is_default_of_main_table(route):
        family = _family(route)
        # the kernel's metric where none is given, and ours
        default, ours = (1024, _METRIC6) if family == 6 and "via" in route else (0, 0)
        if int(route.get("metric", default)) <= ours:
            yield ip_address(route.get("via", "0.0.0.0" if family == 4 else "::"))


def static_routes(route: Definition) -> Iterator[Route]:
    """Read a static route of which nothing is said but its gateway and metric."""
    if route["to"] not in _DEFAULT_ROUTES and "via" in route and route.keys() <= PLAIN_ROUTE:
        via = ip_address(route["via"])
        yield Route(ip_network(route["to"]), via, number(route.get("metric")))


def rendered_routes(
    interface: Interface, options: list[tuple[str, Any]]
) -> Iterator[dict[str, object]]:
    """Render our gateways and static routes, and what was said of them and of others besides.

    Raises ValueError for a route whose gateway our addresses do not reach.
    """
    given = [value for key, value in options if key == "routes"]
    attributes = {route["to"]: route for route in given if _is_of_default_gateway(route)}
    for gateway in interface.gateways:
        to = ANYWHERE[gateway.version]
        metric = {"metric": _METRIC6} if gateway.version == 6 else {}
        said = attributes.get(to, {})
        yield {**said, "to": "default", "via": str(gateway), **metric}
    for static in interface.routes:
        metric = {} if static.metric is None else {"metric": static.metric}
        yield {"to": str(static.destination), "via": str(static.via), **metric}
    for route in given:
        if _is_of_default_gateway(route) or _is_like_ours(interface, route):
            continue
        if interface.addresses and not _is_reachable(interface, route):
            networks = " and ".join(str(address.network) for address in interface.addresses)
            raise ValueError(
                f"The route {to_text(route)} of {interface.name} would be lost, "
                f"because its gateway is not in {networks}."
            )
        yield route


def _is_default_of_main_table(route: Definition) -> bool:
    return route.get("to") in _DEFAULT_ROUTES and not route.keys() & {"table", "type"}


def _family(route: Definition) -> int:
    if "via" in route:
        return ip_address(route["via"]).version
    return 6 if route["to"] == ANYWHERE[6] else 4


def _is_of_default_gateway(route: Definition) -> bool:
    """Whether this is what is said of our default route besides its gateway."""
    return route["to"] in ANYWHERE.values() and not route.keys() & _PLACES


def _is_like_ours(interface: Interface, route: Definition) -> bool:
    """Whether this is a default route by our own gateway that is only less preferred."""
    return _is_default_of_main_table(route) and route.get("via") in {
        str(gateway) for gateway in interface.gateways
    }


def _is_reachable(interface: Interface, route: Definition) -> bool:
    """Whether networkd can set the route; an interface with one that it cannot never gets ready."""
    if "via" not in route or is_true(route.get("on-link", "false")):
        return True
    via = ip_address(route["via"])
    return via.is_link_local or any(via in address.network for address in interface.addresses)
