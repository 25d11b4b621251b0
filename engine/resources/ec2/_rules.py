"""Security group rules: as playbooks write them, as AWS has them, and what differs between the two."""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Final, Self

from pydantic import AfterValidator, BeforeValidator, model_validator

from engine.refs import Unknown, holds_unknown
from engine.resource import Fields

OTHERS_STAY: Final = {"others": "stay"}
"""Stands among wanted rules where others than these are left alone (`purge_rules: false`)."""

_NUMBERS: Final = {"6": "tcp", "17": "udp", "1": "icmp", "58": "icmpv6", "all": "-1", "icmp6": "icmpv6"}
_ICMP: Final = frozenset({"icmp", "icmpv6"})
_WITH_PORTS: Final = frozenset({"tcp", "udp"})
_PEERS: Final = ("cidr_ip", "cidr_ipv6", "group_id", "ip_prefix")


def _number_as_text(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _short_enough(text: str) -> str:
    if len(text) > 255:
        raise ValueError("is longer than the 255 characters that AWS allows")
    return text


Protocol = Annotated[str, BeforeValidator(_number_as_text, json_schema_input_type=str)]
"""`tcp`, `udp`, `icmp`, `icmpv6`, `all`, or a protocol number."""
Description = Annotated[str, AfterValidator(_short_enough)]
"""What a rule is for."""
Ports = int | str | list[int | str]
Words = str | list[str]


@dataclass(frozen=True)
class Atom:
    """One rule as AWS counts them: a protocol, one range of ports (icmp: type and code), one peer."""

    proto: str
    low: Any
    high: Any
    sort: str
    """Which field names the peer: cidr_ip, cidr_ipv6, group_id, ip_prefix."""
    peer: Any

    def __str__(self) -> str:
        """`tcp 8003 from 0.0.0.0/0`, the way plans speak of it."""
        return f"{self.what} from {'its own group' if self.peer == 'self' else self.peer}"

    @property
    def what(self) -> str:
        """The protocol and ports in words."""
        if self.proto == "-1":
            return "all traffic"
        if self.low is None or (self.proto in _ICMP and self.low == -1):
            return self.proto
        if self.proto in _ICMP:
            return f"{self.proto} type {self.low}" + ("" if self.high == -1 else f" code {self.high}")
        return f"{self.proto} {span(self.low, self.high)}"


class Rule(Fields):
    """One rule of a security group: a protocol, ports, and who is at the other end."""

    proto: Protocol = "tcp"
    """`tcp`, `udp`, `icmp`, `icmpv6`, `all`, or a protocol number."""
    ports: Ports | None = None
    """A port, a range `"8000-8010"`, or a list of these."""
    from_port: int | None = None
    """The first port, instead of `ports`."""
    to_port: int | None = None
    """The last port."""
    icmp_type: int | None = None
    """-1, the default, is all types."""
    icmp_code: int | None = None
    """-1, the default, is all codes."""
    cidr_ip: Words | None = None
    """One or more IPv4 ranges at the other end."""
    cidr_ipv6: Words | None = None
    """One or more IPv6 ranges at the other end."""
    group_id: Words | None = None
    """The id of a group at the other end; `self` is the group that holds the rule."""
    ip_prefix: Words | None = None
    """The id of a prefix list."""
    rule_desc: Description | None = None
    """What the rule is for; at most 255 characters."""

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if not atoms([given(self)]):
            raise ValueError(
                "a rule needs someone at the other end: cidr_ip, cidr_ipv6, group_id or ip_prefix"
            )
        return self


def given(rule: Fields) -> dict[str, Any]:
    """The fields of a rule that are set, as plain data."""
    names = type(rule).model_fields
    return {name: value for name in names if (value := getattr(rule, name)) is not None}


def atoms(rules: Iterable[Mapping[str, Any]]) -> dict[Atom, str | None]:
    """The single rules that `rules` come to, with their descriptions. Raises ValueError with words."""
    result: dict[Atom, str | None] = {}
    for rule in rules:
        if rule == OTHERS_STAY:
            continue
        proto = protocol(rule.get("proto", "tcp"))
        spans = list(_spans(rule, proto))
        for sort in _PEERS:
            for peer in _listed(rule.get(sort)):
                for low, high in spans:
                    result[Atom(proto, low, high, sort, canonical(sort, peer))] = rule.get("rule_desc")
    return result


def protocol(name: Any) -> Any:
    """AWS's name of a protocol. Raises ValueError for unknown ones."""
    if isinstance(name, Unknown):
        return name
    text = str(name).lower()
    text = _NUMBERS.get(text, text)
    if text in _WITH_PORTS | _ICMP | {"-1"} or (text.isdigit() and int(text) < 256):
        return text
    raise ValueError(f"{name!r} is no protocol: write tcp, udp, icmp, icmpv6, all, or a protocol number")


def span(low: Any, high: Any) -> Any:
    """A range of ports as a playbook writes it: 22, or `80-90`."""
    return low if low == high else f"{low}-{high}"


def canonical(sort: str, peer: Any) -> Any:
    """A peer as AWS keeps it: host bits of an address range are zero. Raises ValueError for wrong ones."""
    if isinstance(peer, Unknown):
        return peer
    text = str(peer).strip()
    if sort == "cidr_ip":
        return str(_network(text, ipaddress.IPv4Network, "10.0.0.0/16"))
    if sort == "cidr_ipv6":
        return str(_network(text, ipaddress.IPv6Network, "2001:db8::/32"))
    prefix = "sg-" if sort == "group_id" else "pl-"
    if not (text.startswith(prefix) or (sort == "group_id" and text == "self")):
        meant = 'a group\'s id, as `"{{ public_sg.id }}"` gives it, or `self`'
        raise ValueError(
            f"{text!r} is no {sort}: write {meant if sort == 'group_id' else 'an id like pl-0123'}"
        )
    return text


def permissions(some: Mapping[Atom, str | None], own: Any) -> list[dict[str, Any]]:
    """IpPermissions for `some` rules; `own` is the id that `self` stands for."""
    by_ports: dict[tuple[Any, Any, Any], dict[str, Any]] = {}
    for atom, text in some.items():
        permission = by_ports.setdefault((atom.proto, atom.low, atom.high), {"IpProtocol": atom.proto})
        if atom.low is not None:
            permission.update(FromPort=atom.low, ToPort=atom.high)
        key, name = _AWS[atom.sort]
        peer = {name: own if atom.peer == "self" else atom.peer}
        if text:
            peer["Description"] = text
        permission.setdefault(key, []).append(peer)
    return list(by_ports.values())


_AWS: Final = {
    "cidr_ip": ("IpRanges", "CidrIp"),
    "cidr_ipv6": ("Ipv6Ranges", "CidrIpv6"),
    "group_id": ("UserIdGroupPairs", "GroupId"),
    "ip_prefix": ("PrefixListIds", "PrefixListId"),
}


def from_aws(rule: Mapping[str, Any]) -> tuple[Atom, str | None]:
    """A rule of DescribeSecurityGroupRules, with its description."""
    proto = str(rule["IpProtocol"])
    low, high = rule.get("FromPort"), rule.get("ToPort")
    if proto not in _WITH_PORTS | _ICMP:
        low = high = None
    group = (rule.get("ReferencedGroupInfo") or {}).get("GroupId")
    peers = (
        ("cidr_ip", rule.get("CidrIpv4")),
        ("cidr_ipv6", rule.get("CidrIpv6")),
        ("group_id", "self" if group == rule["GroupId"] else group),
        ("ip_prefix", rule.get("PrefixListId")),
    )
    sort, peer = next(((sort, peer) for sort, peer in peers if peer), ("cidr_ip", "0.0.0.0/0"))
    return Atom(proto, low, high, sort, peer), rule.get("Description") or None


def in_playbook_words(atom: Atom, text: str | None) -> dict[str, Any]:
    """A single rule as a playbook would write it."""
    rule: dict[str, Any] = {"proto": "all" if atom.proto == "-1" else atom.proto}
    if atom.proto in _ICMP:
        rule.update(icmp_type=atom.low, icmp_code=atom.high)
    elif atom.low is not None:
        rule["ports"] = span(atom.low, atom.high)
    rule[atom.sort] = atom.peer
    if text:
        rule["rule_desc"] = text
    return rule


def missing_and_extra(
    wanted: Sequence[Mapping[str, Any]], there: Sequence[Mapping[str, Any]]
) -> tuple[list[Atom], list[Atom]]:
    """What `there` lacks and what it has besides; how either is split into ranges does not matter."""
    want, have = atoms(wanted), atoms(there)
    missing = _without(want, have)
    extra = [] if OTHERS_STAY in wanted else _without(have, want)
    return missing, extra


def renamed(wanted: Sequence[Mapping[str, Any]], there: Sequence[Mapping[str, Any]]) -> dict[Atom, str]:
    """The rules that are there under another description than the one asked for, with the one asked for."""
    have = atoms(there)
    want = atoms(wanted).items()
    return {atom: text for atom, text in want if text and atom in have and have[atom] != text}


def differ(wanted: Any, there: Any) -> bool:
    """Whether two lists of rules come to something different."""
    if holds_unknown(wanted):
        return True
    missing, extra = missing_and_extra(wanted or (), there or ())
    return bool(missing or extra or renamed(wanted or (), there or ()))


def difference(wanted: Any, there: Any) -> str | None:
    """What differs between two lists of rules, in words."""
    if holds_unknown(wanted):
        return None
    wanted, there = wanted or (), there or ()
    missing, extra = missing_and_extra(wanted, there)
    words = [f"{atom} is missing" for atom in missing]
    words += [f"{atom} is not in the playbook" for atom in extra]
    words += [f"{atom} should be described as {text!r}" for atom, text in renamed(wanted, there).items()]
    return "; ".join(words) or None


def _without(some: Iterable[Atom], others: Iterable[Atom]) -> list[Atom]:
    """What `some` cover and `others` do not, ranges joined."""
    covered = _coverage(others)
    left: list[Atom] = []
    for key, spans in _coverage(some).items():
        first = replace(key, low=None, high=None)
        for low, high in spans:
            for gap in _gaps(low, high, covered.get(key, [])):
                left.append(replace(first, low=gap[0], high=gap[1]))
    return left


def _coverage(some: Iterable[Atom]) -> dict[Atom, list[tuple[Any, Any]]]:
    """Ranges by protocol and peer; those of ports are joined where they touch."""
    ranges: dict[Atom, list[tuple[Any, Any]]] = defaultdict(list)
    for atom in some:
        if atom.proto in _WITH_PORTS:
            ranges[replace(atom, low=0, high=0)].append((atom.low, atom.high))
        else:
            ranges[atom].append((atom.low, atom.high))
    return {key: _joined(spans) if key.proto in _WITH_PORTS else spans for key, spans in ranges.items()}


def _joined(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    joined: list[tuple[int, int]] = []
    for low, high in sorted(spans):
        if joined and low <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(high, joined[-1][1]))
        else:
            joined.append((low, high))
    return joined


def _gaps(low: Any, high: Any, covered: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    """The parts of low…high that `covered` (joined, sorted) leaves out."""
    if (low, high) in covered:
        return []
    if not isinstance(low, int) or not covered:
        return [(low, high)]
    gaps = []
    for start, end in covered:
        if end < low or start > high:
            continue
        if start > low:
            gaps.append((low, start - 1))
        low = max(low, end + 1)
    return [*gaps, (low, high)] if low <= high else gaps


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


def _spans(rule: Mapping[str, Any], proto: Any) -> Iterable[tuple[Any, Any]]:
    ends = rule.get("from_port"), rule.get("to_port")
    ports = rule.get("ports")
    if (
        isinstance(proto, Unknown)
        or isinstance(ports, Unknown)
        or any(isinstance(end, Unknown) for end in ends)
    ):
        return [(ports, ports)] if ports is not None else [ends]
    if proto in _ICMP:
        return [_icmp(rule, ports, ends)]
    if proto not in _WITH_PORTS:
        if ports is not None or ends not in {(None, None), (-1, -1), (0, 65535)}:
            raise ValueError(f"only tcp and udp have ports; proto {rule.get('proto')} covers them all")
        return [(None, None)]
    if (ports is None) == (ends == (None, None)):
        raise ValueError(
            f"a {proto} rule needs `ports` (22, '8000-8010', or a list), or from_port and to_port"
        )
    if ports is None:
        known = [int(end) for end in ends if end is not None]
        return [_checked(known[0], known[-1], f"{known[0]}-{known[-1]}")]
    return [_span(port) for port in _listed(ports)]


def _icmp(rule: Mapping[str, Any], ports: Any, ends: tuple[Any, Any]) -> tuple[int, int]:
    if ports is not None:
        raise ValueError("icmp has no ports: write icmp_type and icmp_code, or leave them out for all")
    sort = rule.get("icmp_type", ends[0])
    code = rule.get("icmp_code", ends[1])
    return (-1 if sort is None else sort, -1 if code is None else code)


def _span(port: Any) -> tuple[Any, Any]:
    if isinstance(port, Unknown):
        return port, port
    low, dash, high = str(port).partition("-")
    try:
        return _checked(int(low), int(high) if dash else int(low), str(port))
    except ValueError as error:
        if "invalid literal" not in str(error):
            raise
        raise ValueError(f"{port!r} is no port: write 22, or a range like '8000-8010'") from None


def _checked(low: int, high: int, text: str) -> tuple[int, int]:
    if (low, high) == (-1, -1):
        return 0, 65535
    if not 0 <= low <= high <= 65535:
        raise ValueError(f"{text} is no range of ports: they go from 0 to 65535, the lower one first")
    return low, high


def _network(text: str, sort: type[ipaddress.IPv4Network] | type[ipaddress.IPv6Network], example: str) -> Any:
    try:
        return sort(text, strict=False)
    except ValueError:
        raise ValueError(f"{text!r} is no address range: write one like {example}") from None
