"""Route 53: hosted zones."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final

from pydantic import Field, field_validator

from engine.aws.errors import AwsError
from engine.aws.tags import narrow, tag_list, tags_for
from engine.by_hand import assign, aws, itself, json_word, told, word
from engine.errors import StepFailed
from engine.resource import Fields, Fixed, Id, Output, Values, plain
from engine.resources.aws._aws import finish, iam_actions
from engine.resources.aws._route53 import NAME, records, short
from engine.resources.aws._services import InService, ask, quietly
from engine.resources.aws._tagging import Tagging

if TYPE_CHECKING:
    from engine.world import World

_ZONE_PRICE: Final = 0.50 / 730.0
"""USD per hour: 0.50 a month, for the first 25 zones; nothing for one deleted within 12 hours."""


class Network(Fields):
    """A VPC in which a private zone holds."""

    vpc_id: Id
    """Its id."""
    vpc_region: str
    """Its region."""


class Route53Zone(InService):
    """A hosted zone: a domain whose names Route 53 answers for, to everybody or in VPCs only."""

    kind: ClassVar[str] = "route53_zone"
    actions: ClassVar[Sequence[str]] = iam_actions(
        "route53",
        """
        AssociateVPCWithHostedZone ChangeTagsForResource CreateHostedZone DeleteHostedZone
        DisassociateVPCFromHostedZone GetHostedZone ListHostedZones ListResourceRecordSets
        ListTagsForResources UpdateHostedZoneComment
        """,
    ) + iam_actions("ec2", "DescribeVpcs")
    outputs: ClassVar[Mapping[str, Output]] = {
        "id": Output("the zone's id, Z…"),
        "zone_id": Output("the same as id"),
        "name_servers": Output("the servers that answer for it, to be named at the domain's registrar"),
    }
    tagging: ClassVar[Tagging] = Tagging(
        "route53",
        "change_tags_for_resource",
        "change_tags_for_resource",
        "ResourceId",
        "AddTags",
        "RemoveTagKeys",
    )

    zone: Fixed[str]
    """The domain: `lab.example.com`."""
    comment: str | None = Field(default=None, max_length=256)
    """What it is for."""
    vpcs: list[Network] | None = Field(default=None, min_length=1)
    """A private zone: the VPCs in which it holds. A zone is private or not for good."""

    @field_validator("zone")
    @classmethod
    def _domain(cls, value: Any) -> Any:
        if isinstance(value, str) and (not NAME.fullmatch(value) or len(value) > 255):
            raise ValueError("is no domain: write one like lab.example.com")
        return value

    def wanted(self, also: Sequence[str] = ()) -> Values:
        """The values asked for; names are compared in small letters, without a dot at the end."""
        values = super().wanted(also)
        if isinstance(values.get("zone"), str):
            values["zone"] = short(values["zone"])
        return values

    @classmethod
    def differs(cls, name: str, wanted: Any, there: Any) -> bool:
        """VPCs in any order."""
        if name == "vpcs" and isinstance(wanted, list) and isinstance(there, list):
            return _networks(wanted) != _networks(there)
        return super().differs(name, wanted, there)

    def replaces(self, name: str, there: Values) -> bool:
        """A public zone never becomes a private one."""
        if name == "vpcs":
            return bool(self.vpcs) != bool(there.get("vpcs"))
        return super().replaces(name, there)

    def create(self, world: World) -> str:
        """CreateHostedZone with the token as its caller's reference; the tags follow, as it takes none."""
        more: dict[str, Any] = {}
        if self.vpcs:
            more["VPC"] = _network(plain(self.vpcs[0]))
        answer = world.aws.call(
            "route53",
            "create_hosted_zone",
            retry=True,
            Name=self.zone,
            CallerReference=_reference(world),
            HostedZoneConfig={"Comment": self.comment or "", "PrivateZone": bool(self.vpcs)},
            **more,
        )
        id = str(answer["HostedZone"]["Id"]).rpartition("/")[2]
        finish(world, id, lambda: self._complete(world, id))
        return id

    def _complete(self, world: World, id: str) -> None:
        tags = tag_list(narrow(tags_for(world)))
        ask(
            world,
            "route53",
            "change_tags_for_resource",
            ResourceType="hostedzone",
            ResourceId=id,
            AddTags=tags,
        )
        for network in plain(self.vpcs or [])[1:]:
            about = {"HostedZoneId": id, "VPC": _network(network)}
            ask(world, "route53", "associate_vpc_with_hosted_zone", **about)

    @classmethod
    def retag(cls, world: World, id: str, there: Values, tags: Mapping[str, str | None]) -> None:
        """ChangeTagsForResource, all in one request."""
        wanted = tag_list(narrow({key: text for key, text in tags.items() if text is not None}))
        gone = list(narrow({key: "" for key, text in tags.items() if text is None}))
        params: dict[str, Any] = {"AddTags": wanted} if wanted else {}
        if gone:
            params["RemoveTagKeys"] = gone
        about = {"ResourceType": "hostedzone", "ResourceId": id}
        ask(world, "route53", "change_tags_for_resource", **about, **params)

    @classmethod
    def retag_by_hand(cls, id: str, there: Values, tags: Mapping[str, str | None]) -> list[str]:
        """`aws route53 change-tags-for-resource`."""
        lines = super().retag_by_hand(id, there, tags)
        return [f"{line} --resource-type hostedzone" for line in lines]

    @classmethod
    def read_many(cls, world: World, ids: Sequence[str]) -> dict[str, Values]:
        """GetHostedZone for each (ListHostedZones tells neither servers nor VPCs); ListTagsForResources."""
        answers = {}
        for id in dict.fromkeys(ids):
            answer = quietly(world, "route53", "get_hosted_zone", Id=id)
            if answer is not None:
                answers[id] = answer
        tags = _tags(world, list(answers))
        return {
            id: {
                "id": id,
                "zone_id": id,
                "zone": short(answer["HostedZone"]["Name"]),
                "comment": (answer["HostedZone"].get("Config") or {}).get("Comment", ""),
                "vpcs": [
                    {"vpc_id": network["VPCId"], "vpc_region": network["VPCRegion"]}
                    for network in answer.get("VPCs", ())
                ],
                "name_servers": sorted((answer.get("DelegationSet") or {}).get("NameServers", ())),
                "tags": cls.shown_tags(tags.get(id)),
            }
            for id, answer in answers.items()
        }

    def update(self, world: World, id: str, changed: frozenset[str]) -> None:
        """UpdateHostedZoneComment; VPCs by their own calls, new ones first: one must always be there."""
        if "comment" in changed:
            ask(world, "route53", "update_hosted_zone_comment", Id=id, Comment=self.comment or "")
        if "vpcs" in changed:
            there = type(self).read_many(world, [id])[id]["vpcs"]
            wanted = plain(self.vpcs or [])
            for item in wanted:
                if item not in there:
                    about = {"HostedZoneId": id, "VPC": _network(item)}
                    ask(world, "route53", "associate_vpc_with_hosted_zone", **about)
            for item in there:
                if item not in wanted:
                    about = {"HostedZoneId": id, "VPC": _network(item)}
                    quietly(
                        world,
                        "route53",
                        "disassociate_vpc_from_hosted_zone",
                        "VPCAssociationNotFound",
                        **about,
                    )

    @classmethod
    def delete(cls, world: World, id: str) -> None:
        """DeleteHostedZone; refused in words while it holds records that this lab did not make."""
        try:
            quietly(world, "route53", "delete_hosted_zone", Id=id)
        except AwsError as error:
            if error.code != "HostedZoneNotEmpty":
                raise
            held = [
                f"{one['Name']} {one['Type']}"
                for one in records(world, id)
                if one["Type"] not in ("NS", "SOA")
            ]
            raise StepFailed(
                f"the zone {id} is not deleted: it holds records made outside this lab ({', '.join(held)})",
                "delete them if nobody needs them, then run the same command again",
            ) from None

    @classmethod
    def find(cls, world: World) -> list[str]:
        """By the caller's reference that CreateHostedZone was sent with."""
        zones = world.aws.pages("route53", "list_hosted_zones", "HostedZones")
        ours = _reference(world)
        beginning = ours.rpartition("-")[0]
        return [
            str(zone["Id"]).rpartition("/")[2]
            for zone in zones
            if zone["CallerReference"] == ours
            or (not world.job.token and zone["CallerReference"].startswith(f"{beginning}-"))
        ]

    def price(self) -> float | None:
        """0.50 USD a month."""
        return _ZONE_PRICE

    def as_commands(self, action: str, id: str | None, changed: frozenset[str] = frozenset()) -> list[str]:
        """`aws route53 create-hosted-zone`."""
        own = word(itself(self, id))
        if action == "delete":
            return [f"aws route53 delete-hosted-zone --id {own}"]
        if action == "update":
            return [f"aws route53 update-hosted-zone-comment --id {own} --comment {word(self.comment or '')}"]
        command = aws("create-hosted-zone", service="route53", name=self.zone)
        config = json_word({"Comment": self.comment or "", "PrivateZone": bool(self.vpcs)})
        network = f" --vpc {json_word(_network(plain(self.vpcs[0])))}" if self.vpcs else ""
        made = f'{command} --caller-reference "$(date +%s)" --hosted-zone-config {config}{network}'
        asked = f"aws route53 get-hosted-zone --id {own}"
        queries = {"zone_id": "HostedZone.Id", "name_servers": "DelegationSet.NameServers"}
        lines = [assign(self._address, f"{made} --query HostedZone.Id --output text")]
        return [*lines, *told(self, asked, queries)]


def _reference(world: World) -> str:
    """At most 128 characters: a create with the same one is the same create."""
    whose = hashlib.sha256(f"{world.lab}\0{world.job.address}".encode()).hexdigest()[:24]
    return f"labctl-{whose}-{world.job.token}"


def _network(item: Mapping[str, Any]) -> dict[str, Any]:
    return {"VPCRegion": item["vpc_region"], "VPCId": item["vpc_id"]}


def _networks(items: Sequence[Mapping[str, Any]]) -> set[tuple[str, str]]:
    return {(str(item["vpc_id"]), str(item["vpc_region"])) for item in items}


def _tags(world: World, zones: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for start in range(0, len(zones), 10):
        chunk = zones[start : start + 10]
        answer = ask(
            world, "route53", "list_tags_for_resources", ResourceType="hostedzone", ResourceIds=chunk
        )
        found |= {one["ResourceId"]: one.get("Tags") for one in answer["ResourceTagSets"]}
    return found
