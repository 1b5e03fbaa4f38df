"""What others have written survives a deploy, CloudStack's adding of the host, and a deploy.

CloudStack's part is done here as its programs do it: cloudstack-setup-agent sets keys whose lines
merely begin alike, and adds rules; the agent writes its properties with Java's Properties.store.
"""

from collections.abc import Callable, Mapping
from ipaddress import IPv4Address, ip_network

from hypothesis import given
from hypothesis import strategies as st

from kvmhost.firewall import ANYWHERE, EVERYONE, closed
from kvmhost.hosts_file import name_host
from kvmhost.iptables import EMPTY, accepting, input_chain, set_rules
from kvmhost.keyvalue import ARGUMENTS, LIBVIRT, PROPERTIES, set_keys
from kvmhost.ufw import Rule, allowing, closing, opening
from tasks.libvirt import LIBVIRTD, LISTEN
from tests.lab.setup_agent import escaped, with_entries

Step = Callable[[str], str]
OURS = {"guest.cpu.mode": "host-model", "host.reserved.mem.mb": "2048"}
LABELS = {f"{each}.network.device": "cloudbr0" for each in ("private", "public", "guest")}
OWNED = {"guid": "a:b", "host": "10.0.0.5@static", "port": "8250", "zone": "1", "pod": "1"}
TLS = {"listen_tcp": "0", "listen_tls": "1", "auth_tls": '"none"', "ca_file": '"/etc/pki/ca"'}
PORTS = ("1798", "16509", "16514", "5900:6100", "49152:49216")
SOURCE = "192.168.42.0/24"
SETUP = ("22", "1798", "16509", "16514", "5900:6100", "49152:49216")
"""The ports that cloudstack-setup-agent opens to anyone."""


def of_nobody(*keys: Mapping[str, str]) -> st.SearchStrategy[list[str]]:
    """Return lines of any kind that have none of these keys, whoever writes them."""
    names = {key for each in keys for key in each}
    printed = st.text(st.characters(exclude_characters="\n"), max_size=20)
    setting = st.builds("{}{}={}".format, st.sampled_from(["", "#", "  "]), printed, printed)
    lines = st.one_of(printed, setting, st.sampled_from(["", "# why", "log_level = 3", "[x]"]))
    return st.lists(lines.filter(lambda line: not any(name in line for name in names)))


def survives(text: str, foreign: list[str], deploy: Step, add: Step, redeploy: Step) -> str:
    """Return the text in the end, after foreign lines were seen to stay, in their order."""
    for step in (deploy, add, redeploy):
        text = step(text)
        lines = iter(text.split("\n"))
        assert all(line in lines for line in foreign), step
    assert redeploy(text) == text
    return text


@given(of_nobody(OURS, LABELS, OWNED))
def test_agent_properties(foreign: list[str]) -> None:
    text = survives(
        "\n".join(("guid=", *foreign, "")),
        foreign,
        lambda text: set_keys(text, OURS | LABELS, PROPERTIES),
        lambda text: with_entries(text, OWNED | LABELS),
        lambda text: set_keys(text, OURS, PROPERTIES),
    )
    assert {f"{key}={value}" for key, value in (OURS | OWNED).items()} <= {*text.split("\n")}


@given(
    st.dictionaries(
        st.from_regex(r"[a-z]+\.x", fullmatch=True), st.text(st.characters(codec="ascii"))
    )
)
def test_agent_properties_that_java_has_stored(foreign: dict[str, str]) -> None:
    stored = [f"{key}={escaped(value)}" for key, value in OWNED.items()]
    lines = [f"{key}={escaped(value)}" for key, value in foreign.items()]
    survives(
        "#Mon Nov 23 10:00:00 UTC 2026\n",
        lines,
        lambda text: "\n".join((text, *lines, *stored, "")),
        lambda text: set_keys(text, OURS, PROPERTIES),
        lambda text: set_keys(text, OURS, PROPERTIES),
    )


@given(of_nobody(LISTEN, LIBVIRTD, TLS))
def test_libvirtd_conf(foreign: list[str]) -> None:
    text = survives(
        "\n".join(("#listen_tls = 0", *foreign, "")),
        foreign,
        lambda text: set_keys(text, LISTEN | LIBVIRTD, LIBVIRT),
        lambda text: with_entries(text, TLS),
        lambda text: set_keys(text, LIBVIRTD, LIBVIRT),
    )
    assert {f"{key}={value}" for key, value in TLS.items()} <= {*text.split("\n")}


@given(of_nobody({"LIBVIRTD_ARGS": "", "libvirtd_opts": ""}))
def test_the_arguments_of_libvirtd(foreign: list[str]) -> None:
    for theirs in ({"LIBVIRTD_ARGS": "-l"}, {"libvirtd_opts": "'-l'"}):

        def deploy(text: str) -> str:
            return set_keys(text, {"LIBVIRTD_ARGS": '"--listen"'}, ARGUMENTS)

        def add(text: str, theirs: Mapping[str, str] = theirs) -> str:
            return with_entries(text, theirs)

        survives("\n".join((*foreign, "")), foreign, deploy, add, deploy)


NAMES = st.lists(st.sampled_from(["gateway", "kvm2", "kvm2.example.org", "nas"]), min_size=1)
ENTRY = st.builds("{} {}".format, st.ip_addresses().map(str), NAMES.map(" ".join))


@given(st.lists(ENTRY | st.sampled_from(["", "# by hand", "10.0.0.9 nas # rack 7"])))
def test_etc_hosts(foreign: list[str]) -> None:
    def deploy(text: str) -> str:
        return name_host(text, IPv4Address("192.168.42.11"), "kvm1.example.org")

    foreign = [line for line in foreign if not line.startswith("192.168.42.11 ")]
    installed = "127.0.0.1 localhost\n127.0.1.1 kvm1.example.org kvm1\n"
    survives(installed + "\n".join((*foreign, "")), foreign, deploy, str, deploy)


ADDRESSES = st.sampled_from(["10.0.0.0/8", "10.0.0.66/32", "192.168.42.7/32"])
FOREIGN_RULE = st.one_of(
    st.builds("-A INPUT -s {} -j {}".format, ADDRESSES, st.sampled_from(["ACCEPT", "DROP"])),
    st.builds("-A INPUT -p tcp -m tcp --dport {} -j ACCEPT".format, st.integers(7000, 9000)),
    st.builds("-A FORWARD -d {} -j ACCEPT".format, ADDRESSES),
    st.sampled_from(["# by hand", "-A INPUT -i lo -j ACCEPT", "-A INPUT -j f2b-sshd"]),
    st.just("-A INPUT -j REJECT --reject-with icmp-host-prohibited"),
)


@given(st.lists(FOREIGN_RULE))
def test_rules_of_iptables(foreign: list[str]) -> None:
    wanted = [accepting(port, SOURCE) for port in PORTS]
    theirs = [f"-A INPUT {accepting(port, ANYWHERE)}" for port in SETUP]

    def deploy(text: str) -> str:
        return set_rules(text, wanted, closed(PORTS))

    def add(text: str) -> str:
        return text.replace("[0:0]\n-A", "\n".join(("[0:0]", *theirs, "-A")), 1)

    text = "*nat\n-A POSTROUTING -j MASQUERADE\nCOMMIT\n" + EMPTY.replace(
        "COMMIT", "\n".join((*foreign, "COMMIT"))
    )
    after = survives(text, ["-A POSTROUTING -j MASQUERADE", *foreign], deploy, add, deploy)
    chain = input_chain(after)
    assert {*wanted} <= {*chain}
    assert not {*chain} & {accepting(port, ANYWHERE) for port in PORTS}


UFW_RULE = st.builds(
    Rule,
    st.sampled_from(["allow", "deny", "reject", "limit"]),
    st.sampled_from(["tcp", "udp", "any"]),
    st.sampled_from(["7000", "22", "16509", "80,443", "any"]),
    st.sampled_from(["10.0.0.0/8", "10.0.0.66/32"]).map(ip_network),
    st.just(EVERYONE[4]),
)


@given(st.lists(UFW_RULE, unique=True))
def test_rules_of_ufw(foreign: list[Rule]) -> None:
    theirs = [Rule("allow", "any", port, EVERYONE[4], EVERYONE[4]) for port in ("22", "16509")]
    ours = [rule for port in PORTS for rule in allowing(port, SOURCE)]
    for rules in (foreign, [*foreign, *ours, *theirs]):
        told = [*opening(rules, ours), *closing(rules, closed(PORTS))]
        deleted = {command for command in told if command.startswith("delete ")}
        assert deleted.isdisjoint(f"delete {rule.command()}" for rule in foreign)
    assert deleted == {"delete allow from 0.0.0.0/0 to any port 16509"}
    assert not opening([*foreign, *ours], ours)
