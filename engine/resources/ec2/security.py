"""Who may talk to whom: security groups, and single rules apart from their group."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import field_validator, model_validator

from engine.aws.errors import AwsError
from engine.aws.tags import ADDRESS, seen_tags, tag_specifications, tags_of, values_filter
from engine.by_hand import assign, aws, itself, json_word, told, word
from engine.refs import Unknown
from engine.resource import Fixed, Id, Output, Values, plain
from engine.resources.aws._aws import finish, iam_actions
from engine.resources.ec2._ec2 import InEc2, ask, described, found, interfaces, make, once_seen, remove
from engine.resources.ec2._rules import (
    OTHERS_STAY,
    Atom,
    Description,
    Ports,
    Protocol,
    Rule,
    atoms,
    canonical,
    differ,
    difference,
    from_aws,
    given,
    in_playbook_words,
    missing_and_extra,
    permissions,
    protocol,
    renamed,
    span,
)

if TYPE_CHECKING:
    from engine.world import World

_ALLOWED = re.compile(r"[A-Za-z0-9. _\-:/()#,@\[\]+=&;{}!$*]{1,255}")
_PURGES = {"rules": "purge_rules", "rules_egress": "purge_rules_egress"}
_LISTS = {"rules": False, "rules_egress": True}
"""The fields that hold rules, and whether they are about what goes out."""
_ALL_OUT = {"proto": "all", "cidr_ip": "0.0.0.0/0"}
"""The rule that AWS puts into each new group."""


class Ec2SecurityGroup(InEc2):
    """A security group: which traffic reaches its instances, and which they may send."""

    kind: ClassVar[str] = "ec2_security_group"
    actions: ClassVar[Sequence[str]] = iam_actions(
        "ec2",
        """
        AuthorizeSecurityGroupEgress AuthorizeSecurityGroupIngress CreateSecurityGroup CreateTags
        DeleteSecurityGroup DeleteTags DescribeNetworkInterfaces DescribeSecurityGroupRules
        DescribeSecurityGroups RevokeSecurityGroupEgress RevokeSecurityGroupIngress
        UpdateSecurityGroupRuleDescriptionsEgress UpdateSecurityGroupRuleDescriptionsIngress
        """,
    )
    outputs: ClassVar[Mapping[str, Output]] = {
        "id": Output("the group's id, sg-…"),
        "group_id": Output("the same as id"),
    }

    group_name: Fixed[str]
    """At most 255 characters, one of its kind in the VPC."""
    description: Fixed[str]
    """AWS wants one and never lets it change."""
    vpc_id: Fixed[Id | None] = None
    """The default VPC where left out."""
    rules: list[Rule] | None = None
    """What may come in. Left out, incoming rules are left alone."""
    rules_egress: list[Rule] | None = None
    """What may go out. Left out, AWS's default stays: everything."""
    purge_rules: bool = True
    """Rules that others added are taken away."""
    purge_rules_egress: bool = True
    """The same for outgoing rules."""

    @field_validator("group_name", "description")
    @classmethod
    def _allowed(cls, value: str) -> str:
        if not _ALLOWED.fullmatch(value):
            raise ValueError(
                "AWS allows 1 to 255 letters, digits, spaces and . _ - : / ( ) # , @ [ ] + = & ; { } ! $ *"
            )
        return value

    @field_validator("group_name")
    @classmethod
    def _free(cls, value: str) -> str:
        if value.startswith("sg-") or value == "default":
            raise ValueError("AWS keeps `default` and names that begin with sg- to itself")
        return value

    def wanted(self, also: Sequence[str] = ()) -> Values:
        """The values asked for; a last entry `others: stay` where rules of others are left alone."""
        values = super().wanted(also)
        for name, purges in _PURGES.items():
            values.pop(purges, None)
            if values.get(name) is not None and not getattr(self, purges):
                values[name] = [*values[name], OTHERS_STAY]
        return values

    @classmethod
    def differs(cls, name: str, wanted: Any, there: Any) -> bool:
        """Rules differ when they come to something else, however they are ordered, joined or split."""
        if name in _LISTS and isinstance(wanted, list):
            return differ(wanted, there)
        return super().differs(name, wanted, there)

    @classmethod
    def describe_difference(cls, name: str, wanted: Any, there: Any) -> str | None:
        """Which rules are missing or not in the playbook."""
        if name in _LISTS and isinstance(wanted, list):
            text = difference(wanted, there)
            return text.replace(" from ", " to ") if text and _LISTS[name] else text
        return None

    def create(self, world: World) -> str:
        """CreateSecurityGroup, then all rules of a direction in one request."""
        answer = make(
            world,
            "create_security_group",
            GroupName=self.group_name,
            Description=self.description,
            VpcId=self.vpc_id,
            TagSpecifications=tag_specifications(world, "security-group"),
        )
        id = str(answer["GroupId"])
        finish(world, id, lambda: self._first_rules(world, id))
        return id

    def _first_rules(self, world: World, id: str) -> None:
        if self.rules:
            _authorize(world, id, atoms(plain(self.rules)), egress=False)
        if self.rules_egress is not None:
            # A new group may send everything; AWS puts that rule there itself.
            (everything,) = atoms([_ALL_OUT])
            wanted = atoms(plain(self.rules_egress))
            _authorize(world, id, {a: text for a, text in wanted.items() if a != everything}, egress=True)
            if everything not in wanted and self.purge_rules_egress:
                all_out = permissions({everything: None}, id)
                ask(world, "revoke_security_group_egress", GroupId=id, IpPermissions=all_out)

    @classmethod
    def read_many(cls, world: World, ids: Sequence[str]) -> dict[str, Values]:
        """DescribeSecurityGroups, and DescribeSecurityGroupRules for the rules of all, because it tells tags.

        Rules that are resources of their own are not the group's.
        """
        groups = described(world, "describe_security_groups", "SecurityGroups", "group-id", ids)
        rules = described(
            world,
            "describe_security_group_rules",
            "SecurityGroupRules",
            "group-id",
            [g["GroupId"] for g in groups],
        )
        held: dict[tuple[str, bool], list[dict[str, Any]]] = defaultdict(list)
        for rule in rules:
            if ADDRESS not in tags_of(rule):
                held[rule["GroupId"], bool(rule["IsEgress"])].append(in_playbook_words(*from_aws(rule)))
        return {
            group["GroupId"]: {
                "id": group["GroupId"],
                "group_id": group["GroupId"],
                "group_name": group["GroupName"],
                "description": group["Description"],
                "vpc_id": group.get("VpcId"),
                **{name: held[group["GroupId"], egress] for name, egress in _LISTS.items()},
                "tags": seen_tags(group),
            }
            for group in groups
        }

    def update(self, world: World, id: str, changed: frozenset[str]) -> None:
        """What is missing is allowed first, then what is extra is taken away: nothing is cut in between."""
        rules = described(world, "describe_security_group_rules", "SecurityGroupRules", "group-id", [id])
        rules = [rule for rule in rules if ADDRESS not in tags_of(rule)]
        for name, egress in _LISTS.items():
            if name in changed:
                held = [rule for rule in rules if bool(rule["IsEgress"]) == egress]
                self._mend(world, id, self.wanted([name]).get(name) or [], held, egress)

    @staticmethod
    def _mend(
        world: World, id: str, wanted: list[dict[str, Any]], held: list[dict[str, Any]], egress: bool
    ) -> None:
        there = {from_aws(rule)[0]: rule for rule in held}
        words = [in_playbook_words(*from_aws(rule)) for rule in held]
        if any(missing_and_extra(wanted, words)):
            want = atoms(wanted)
            _authorize(world, id, {a: text for a, text in want.items() if a not in there}, egress=egress)
            extra = [rule for atom, rule in there.items() if atom not in want]
            if OTHERS_STAY not in wanted:
                _revoke(world, id, [rule["SecurityGroupRuleId"] for rule in extra], egress=egress)
        texts = renamed(wanted, words)
        if texts:
            operation = f"update_security_group_rule_descriptions_{_way(egress)}"
            ask(world, operation, GroupId=id, IpPermissions=permissions(texts, id))

    @classmethod
    def delete(cls, world: World, id: str) -> None:
        """DeleteSecurityGroup; waits while interfaces of instances that are going still carry it."""

        def holders() -> list[str]:
            groups = world.aws.pages(
                "ec2",
                "describe_security_groups",
                "SecurityGroups",
                Filters=values_filter("ip-permission.group-id", [id]),
            )
            naming = [f"a rule of {group['GroupId']} ({group['GroupName']})" for group in groups]
            return interfaces(world, "group-id", id) + [text for text in naming if id not in text]

        remove(world, "delete_security_group", GroupId=id, holders=holders)

    @classmethod
    def find(cls, world: World) -> list[str]:
        """By the tags that CreateSecurityGroup was sent with."""
        return found(world, "describe_security_groups", "SecurityGroups", "GroupId")

    def as_commands(self, action: str, id: str | None, changed: frozenset[str] = frozenset()) -> list[str]:
        """`aws ec2 create-security-group`, and one authorize command a rule, as the handout does."""
        own = itself(self, id)
        if action == "delete":
            return [f"aws ec2 delete-security-group --group-id {word(own)}"]
        lines = []
        if action == "create":
            command = aws(
                "create-security-group",
                query="GroupId",
                group_name=self.group_name,
                description=self.description,
                vpc_id=self.vpc_id,
            )
            lines.append(assign(self._address, command))
        for name, egress in _LISTS.items():
            if getattr(self, name) is not None and (action == "create" or name in changed):
                lines += self._rules_by_hand(own, name, egress)
        asked = f"aws ec2 describe-security-groups --group-ids {word(own)}"
        return [*lines, *told(self, asked, {"group_id": "SecurityGroups[0].GroupId"})]

    def _rules_by_hand(self, own: Any, name: str, egress: bool) -> list[str]:
        """What is missing is allowed first, then what is extra taken away, as `update` does."""
        # A new group may send everything.
        there = atoms(
            self._beside.there.get(name) or ([_ALL_OUT] if egress and not self._beside.there else [])
        )
        wanted = atoms(plain(getattr(self, name)))
        lines = [_by_hand("authorize", own, a, egress, text) for a, text in wanted.items() if a not in there]
        if getattr(self, _PURGES[name]):
            lines += [_by_hand("revoke", own, atom, egress) for atom in there if atom not in wanted]
        texts = {atom: text for atom, text in wanted.items() if text and there.get(atom, text) != text}
        if texts:
            command = f"aws ec2 update-security-group-rule-descriptions-{_way(egress)} --group-id {word(own)}"
            lines.append(f"{command} --ip-permissions {json_word(permissions(texts, own))}")
        return lines


class Ec2SecurityGroupRule(InEc2):
    """One rule of a security group, apart from the group, so that two groups can name each other."""

    kind: ClassVar[str] = "ec2_security_group_rule"
    actions: ClassVar[Sequence[str]] = iam_actions(
        "ec2",
        """
        AuthorizeSecurityGroupEgress AuthorizeSecurityGroupIngress CreateTags DeleteTags
        DescribeSecurityGroupRules ModifySecurityGroupRules RevokeSecurityGroupEgress
        RevokeSecurityGroupIngress
        """,
    )
    outputs: ClassVar[Mapping[str, Output]] = {"id": Output("the rule's id, sgr-…")}

    security_group_id: Fixed[Id]
    """The group that holds the rule."""
    egress: Fixed[bool] = False
    """The rule is about what goes out."""
    proto: Protocol = "tcp"
    """`tcp`, `udp`, `icmp`, `icmpv6`, `all`, or a protocol number."""
    ports: Ports | None = None
    """One port or one range `"8000-8010"`."""
    icmp_type: int | None = None
    """-1, the default, is all types."""
    icmp_code: int | None = None
    """-1, the default, is all codes."""
    cidr_ip: str | None = None
    """An IPv4 range at the other end; exactly one of the four is given."""
    cidr_ipv6: str | None = None
    """An IPv6 range at the other end."""
    group_id: Id | None = None
    """The group at the other end; `self` is the group that holds the rule."""
    ip_prefix: str | None = None
    """The id of a prefix list at the other end."""
    rule_desc: Description | None = None
    """What the rule is for; at most 255 characters."""

    @model_validator(mode="after")
    def _one_rule(self) -> Self:
        if len(self._atoms()) != 1:
            raise ValueError(
                "this is one rule: one port or range, and one of cidr_ip, cidr_ipv6, group_id or ip_prefix"
            )
        return self

    def _atoms(self) -> dict[Atom, str | None]:
        rule = given(self)
        return atoms([{name: rule[name] for name in rule if name not in {"security_group_id", "egress"}}])

    def wanted(self, also: Sequence[str] = ()) -> Values:
        """The values asked for; `self` stands for the group that holds the rule."""
        values = super().wanted(also)
        if values.get("group_id") == "self":
            values["group_id"] = self.security_group_id
        return values

    @classmethod
    def differs(cls, name: str, wanted: Any, there: Any) -> bool:
        """Protocols, ports and address ranges are compared by what they come to."""
        if isinstance(wanted, Unknown) or wanted is None or there is None:
            return super().differs(name, wanted, there)
        if name == "proto":
            return bool(protocol(wanted) != protocol(there))
        if name == "ports":
            rule = {"proto": "tcp", "cidr_ip": "0.0.0.0/0"}
            return atoms([{**rule, "ports": wanted}]).keys() != atoms([{**rule, "ports": there}]).keys()
        if name in {"cidr_ip", "cidr_ipv6"}:
            return bool(canonical(name, wanted) != there)
        return super().differs(name, wanted, there)

    def create(self, world: World) -> str:
        """AuthorizeSecurityGroupIngress or -Egress, which tags the rule."""
        answer = make(
            world,
            f"authorize_security_group_{_way(self.egress)}",
            GroupId=self.security_group_id,
            IpPermissions=permissions(self._atoms(), self.security_group_id),
            TagSpecifications=tag_specifications(world, "security-group-rule"),
        )
        return str(answer["SecurityGroupRules"][0]["SecurityGroupRuleId"])

    @classmethod
    def read_many(cls, world: World, ids: Sequence[str]) -> dict[str, Values]:
        """DescribeSecurityGroupRules."""
        rules = described(
            world, "describe_security_group_rules", "SecurityGroupRules", "security-group-rule-id", ids
        )
        return {rule["SecurityGroupRuleId"]: cls._values(rule) for rule in rules}

    @classmethod
    def _values(cls, rule: Mapping[str, Any]) -> Values:
        atom, text = from_aws(rule)
        words = in_playbook_words(atom, text)
        if words.get("group_id") == "self":
            words["group_id"] = rule["GroupId"]
        names = cls.model_fields
        return {
            **dict.fromkeys(names),
            **words,
            "id": rule["SecurityGroupRuleId"],
            "security_group_id": rule["GroupId"],
            "egress": bool(rule["IsEgress"]),
            "tags": seen_tags(rule),
        }

    def update(self, world: World, id: str, changed: frozenset[str]) -> None:
        """ModifySecurityGroupRules: the rule keeps its id."""
        (atom,) = self._atoms()
        rule = self._as_aws(atom)
        ask(
            world,
            "modify_security_group_rules",
            GroupId=self.security_group_id,
            SecurityGroupRules=[{"SecurityGroupRuleId": id, "SecurityGroupRule": rule}],
        )

    def _as_aws(self, atom: Atom) -> dict[str, Any]:
        """A SecurityGroupRuleRequest."""
        peer = {
            "cidr_ip": "CidrIpv4",
            "cidr_ipv6": "CidrIpv6",
            "group_id": "ReferencedGroupId",
            "ip_prefix": "PrefixListId",
        }[atom.sort]
        return {
            "IpProtocol": atom.proto,
            "FromPort": -1 if atom.low is None else atom.low,
            "ToPort": -1 if atom.high is None else atom.high,
            peer: self.security_group_id if atom.peer == "self" else atom.peer,
            "Description": self.rule_desc or "",
        }

    @classmethod
    def delete(cls, world: World, id: str) -> None:
        """RevokeSecurityGroupIngress or -Egress by the rule's id."""
        for rule in described(
            world, "describe_security_group_rules", "SecurityGroupRules", "security-group-rule-id", [id]
        ):
            _revoke(world, rule["GroupId"], [id], egress=bool(rule["IsEgress"]))

    @classmethod
    def find(cls, world: World) -> list[str]:
        """By the tags that the authorize call was sent with."""
        return found(world, "describe_security_group_rules", "SecurityGroupRules", "SecurityGroupRuleId")

    def as_commands(self, action: str, id: str | None, changed: frozenset[str] = frozenset()) -> list[str]:
        """The authorize and revoke commands of the AWS command line."""
        if action == "delete":
            return self._gone_by_hand(word(id))
        (atom,) = self._atoms()
        own = word(self.security_group_id)
        if action == "update":
            rule = json_word([{"SecurityGroupRuleId": id, "SecurityGroupRule": self._as_aws(atom)}])
            return [f"aws ec2 modify-security-group-rules --group-id {own} --security-group-rules {rule}"]
        command = _by_hand("authorize", self.security_group_id, atom, bool(self.egress), self.rule_desc)
        if "id" not in self._beside.needed:
            return [command]
        query = "--query 'SecurityGroupRules[0].SecurityGroupRuleId' --output text"
        return [assign(self._address, f"{command} {query}")]

    def _gone_by_hand(self, id: str) -> list[str]:
        group = self._beside.there.get("security_group_id")
        if group is None:
            asked = f"aws ec2 describe-security-group-rules --security-group-rule-ids {id}"
            own = f"\"$({asked} --query 'SecurityGroupRules[0].GroupId' --output text)\""
        else:
            own = word(group)
        command = f"aws ec2 revoke-security-group-{_way(self._beside.there.get('egress') is True)}"
        return [f"{command} --group-id {own} --security-group-rule-ids {id}"]


def _way(egress: bool) -> str:
    return "egress" if egress else "ingress"


def _authorize(world: World, id: str, some: Mapping[Atom, str | None], *, egress: bool) -> None:
    """All of `some` in one request; what somebody allowed meanwhile is as wanted."""
    if not some:
        return
    try:
        # Sent twice it says that the rule is a duplicate, which does no harm.
        operation = f"authorize_security_group_{_way(egress)}"
        once_seen(world, operation, GroupId=id, IpPermissions=permissions(some, id))
    except AwsError as error:
        if error.code != "InvalidPermission.Duplicate":
            raise
        if len(some) > 1:  # AWS refuses them all when one is a duplicate
            for atom, text in some.items():
                _authorize(world, id, {atom: text}, egress=egress)


def _revoke(world: World, group: str, rules: Sequence[str], *, egress: bool) -> None:
    if not rules:
        return
    try:
        ask(world, f"revoke_security_group_{_way(egress)}", GroupId=group, SecurityGroupRuleIds=list(rules))
    except AwsError as error:
        if not error.not_found:
            raise


def _by_hand(verb: str, group: Any, atom: Atom, egress: bool, text: str | None = None) -> str:
    """`verb` is authorize or revoke; `group` is the group's id, perhaps unknown."""
    command = f"aws ec2 {verb}-security-group-{_way(egress)} --group-id {word(group)}"
    simple = atom.proto in {"tcp", "udp", "-1"} and atom.sort in {"cidr_ip", "group_id"} and not text
    if not simple or egress:
        # Only the long form tells of ICMP, IPv6, prefix lists, descriptions, and what goes out.
        return f"{command} --ip-permissions {json_word(permissions({atom: text}, group))}"
    parts = [command, f"--protocol {'all' if atom.proto == '-1' else atom.proto}"]
    if atom.low is not None:
        parts.append(f"--port {word(span(atom.low, atom.high))}")
    flag = "--cidr" if atom.sort == "cidr_ip" else "--source-group"
    return " ".join([*parts, f"{flag} {word(group if atom.peer == 'self' else atom.peer)}"])
