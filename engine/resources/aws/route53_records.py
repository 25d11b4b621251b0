"""Route 53: records."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, Self

from pydantic import Field, field_validator, model_validator

from engine.aws.errors import AwsError
from engine.by_hand import json_word, word
from engine.errors import StepFailed
from engine.refs import Unknown, holds_unknown
from engine.resource import Fields, Fixed, Id, Output, Place, Resource, Values
from engine.resources.aws._aws import iam_actions, insist, seconds
from engine.resources.aws._route53 import NAME, records, short
from engine.resources.aws._services import ask

if TYPE_CHECKING:
    from engine.world import World

_SPREADS: Final = 300.0
"""Seconds that a change is given until all of Route 53's servers have it; it takes about one minute."""
_BUSY: Final = frozenset({"PriorRequestNotComplete", "ConflictingDomainExists"})


class Alias(Fields):
    """Something of AWS's that the name stands for."""

    dns_name: Id
    """Its name: that of a load balancer, of a bucket's website, …"""
    hosted_zone_id: Id
    """The zone that name is in, as AWS tells for each service."""
    evaluate_target_health: bool = False
    """Answered only while it is healthy."""


class Route53Record(Resource):
    """A record: what Route 53 answers when asked for a name."""

    kind: ClassVar[str] = "route53_record"
    actions: ClassVar[Sequence[str]] = iam_actions(
        "route53", "ChangeResourceRecordSets GetChange ListResourceRecordSets"
    )
    outputs: ClassVar[Mapping[str, Output]] = {
        "id": Output("zone, name and type: Z…/www.example.com/A"),
        "fqdn": Output("the whole name"),
    }

    hosted_zone_id: Fixed[Id]
    """The zone that it is in."""
    record: Fixed[str]
    """The whole name: `www.lab.example.com`."""
    type: Fixed[Literal["A", "AAAA", "CNAME", "MX", "TXT", "SRV", "CAA", "NS", "PTR", "SPF", "DS"]]
    """What sort of answer."""
    value: list[str] | None = Field(default=None, min_length=1)
    """The answers; those of TXT are quoted for you."""
    ttl: int = Field(default=300, ge=0, le=2147483647)
    """Seconds that others may remember the answer."""
    alias: Alias | None = None
    """Instead of value: something of AWS's that the name stands for."""
    overwrite: bool = False
    """A record of others that is there is put out of the way, once; else that is an error."""
    wait: bool = True
    """Until all of Route 53's servers have it, about a minute."""

    @field_validator("record")
    @classmethod
    def _domain(cls, value: Any) -> Any:
        if isinstance(value, str) and (not NAME.fullmatch(value) or len(value) > 255):
            raise ValueError("is no name: write a whole one like www.lab.example.com")
        return value

    @field_validator("value", mode="before")
    @classmethod
    def _several(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.value is None) == (self.alias is None):
            raise ValueError("write either value (answers) or alias (something of AWS's)")
        if self.type == "CNAME" and isinstance(self.value, list) and len(self.value) != 1:
            raise ValueError("a CNAME has one value")
        return self

    def wanted(self, also: Sequence[str] = ()) -> Values:
        """The values asked for, in Route 53's form; how it is made is not read."""
        values = super().wanted(also)
        for name in ("overwrite", "wait"):
            values.pop(name, None)
        if isinstance(values.get("record"), str):
            values["record"] = short(values["record"])
        if isinstance(values.get("value"), list):
            values["value"] = [_answer(self.type, one) for one in values["value"]]
        if values.get("alias") is not None:
            values.pop("ttl", None)
        return values

    @classmethod
    def differs(cls, name: str, wanted: Any, there: Any) -> bool:
        """Answers in any order; names without regard to capitals."""
        if name == "value" and isinstance(wanted, list) and isinstance(there, list):
            return sorted(map(str, wanted)) != sorted(there)
        if name == "alias" and isinstance(wanted, Mapping) and isinstance(there, Mapping):
            return {**wanted, "dns_name": short(str(wanted["dns_name"]))} != there
        return super().differs(name, wanted, there)

    def foreseen(self) -> str | None:
        """Its id, and a hash of what it says: records bear no tags, and others' are not ours."""
        return None if holds_unknown(self.wanted()) else f"{self._id()}#{_hash(self._set())}"

    def _id(self) -> str:
        return f"{self.hosted_zone_id}/{short(self.record)}/{self.type}"

    def _set(self) -> dict[str, Any]:
        """The ResourceRecordSet."""
        name = self.record if isinstance(self.record, Unknown) else f"{short(self.record)}."
        found: dict[str, Any] = {"Name": name, "Type": self.type}
        if self.alias is not None:
            return found | {
                "AliasTarget": {
                    "DNSName": self.alias.dns_name,
                    "HostedZoneId": self.alias.hosted_zone_id,
                    "EvaluateTargetHealth": self.alias.evaluate_target_health,
                }
            }
        values = [self.value] if isinstance(self.value, Unknown) else self.value or ()
        answers = [_answer(self.type, one) for one in values]
        return found | {"TTL": self.ttl, "ResourceRecords": [{"Value": one} for one in answers]}

    def create(self, world: World) -> str:
        """ChangeResourceRecordSets: CREATE, which fails where the name is taken; UPSERT with `overwrite`."""
        try:
            self._change(world, "UPSERT" if self.overwrite else "CREATE")
        except AwsError as error:
            if error.code != "InvalidChangeBatch" or "already exists" not in error.said:
                raise
            [there] = _of(world, self._id())
            if _hash(there) != _hash(self._set()):
                raise StepFailed(
                    f"{self.record} {self.type} is there already, and this lab did not make it",
                    "choose another name, or write overwrite: true",
                ) from None
        return self._id()

    def _change(self, world: World, action: str) -> None:
        _change(world, str(self.hosted_zone_id), action, self._set(), wait=self.wait)

    @classmethod
    def read_many(cls, world: World, ids: Sequence[str]) -> dict[str, Values]:
        """ListResourceRecordSets, once for each zone."""
        asked: dict[str, list[str]] = defaultdict(list)
        for id in dict.fromkeys(ids):
            asked[id.partition("/")[0]].append(id)
        found = {}
        for zone, wanted in asked.items():
            for one in records(world, zone):
                id = f"{zone}/{short(one['Name'])}/{one['Type']}"
                if id in wanted:
                    found[id] = _read(zone, id, one)
        return found

    def update(self, world: World, id: str, changed: frozenset[str]) -> None:
        """ChangeResourceRecordSets: UPSERT."""
        self._change(world, "UPSERT")

    @classmethod
    def delete(cls, world: World, id: str) -> None:
        """ChangeResourceRecordSets: DELETE, of exactly what is there."""
        for one in _of(world, id):
            _change(world, id.partition("/")[0], "DELETE", one, wait=False)

    @classmethod
    def find(cls, world: World) -> list[str]:
        """The one that the create was for, if it says exactly what the create asked for."""
        id, _, digest = world.job.foreseen.partition("#")
        return [id] if id and [_hash(one) for one in _of(world, id)] == [digest] else []

    def reach(self, place: Place) -> Mapping[str, Sequence[str]]:
        """Its zone alone."""
        if isinstance(self.hosted_zone_id, Unknown):
            return {}
        zone = [f"arn:{place.partition}:route53:::hostedzone/{self.hosted_zone_id}"]
        return {action: zone for action in self.actions if action != "route53:GetChange"}

    def as_commands(self, action: str, id: str | None, changed: frozenset[str] = frozenset()) -> list[str]:
        """`aws route53 change-resource-record-sets`."""
        if action == "delete":
            zone, _, rest = (id or "").partition("/")
            return [
                f"# delete {rest} of the zone {zone}: aws route53 change-resource-record-sets (DELETE); {id}"
            ]
        batch = {"Changes": [{"Action": "UPSERT", "ResourceRecordSet": self._set()}]}
        zone = word(self.hosted_zone_id)
        command = f"aws route53 change-resource-record-sets --hosted-zone-id {zone}"
        return [f"{command} --change-batch {json_word(batch)}"]


def _read(zone: str, id: str, one: Mapping[str, Any]) -> Values:
    alias = one.get("AliasTarget")
    return {
        "id": id,
        "fqdn": short(one["Name"]),
        "hosted_zone_id": zone,
        "record": short(one["Name"]),
        "type": one["Type"],
        "ttl": one.get("TTL"),
        "value": [str(record["Value"]) for record in one.get("ResourceRecords", ())],
        "alias": alias
        and {
            "dns_name": short(alias["DNSName"]),
            "hosted_zone_id": alias["HostedZoneId"],
            "evaluate_target_health": alias["EvaluateTargetHealth"],
        },
    }


def _answer(sort: Any, value: Any) -> Any:
    """An answer as Route 53 has it: TXT in quotes, in pieces of 255."""
    if sort not in ("TXT", "SPF") or not isinstance(value, str) or value.startswith('"'):
        return value
    pieces = [value[at : at + 255] for at in range(0, len(value), 255)] or [""]
    return " ".join('"' + piece.replace("\\", "\\\\").replace('"', '\\"') + '"' for piece in pieces)


def _hash(one: Mapping[str, Any]) -> str:
    """Of what a record says."""
    answers = sorted(str(record["Value"]) for record in one.get("ResourceRecords", ()))
    alias = one.get("AliasTarget") or {}
    said = [one["Type"], one.get("TTL"), answers, short(str(alias.get("DNSName", "")))]
    return hashlib.sha256(json.dumps(said, default=str).encode()).hexdigest()[:24]


def _of(world: World, id: str) -> list[dict[str, Any]]:
    """The record of an id, as it is now."""
    zone, name, sort = id.split("/")[0], id.split("/", 1)[1].rpartition("/")[0], id.rpartition("/")[2]
    return [one for one in records(world, zone) if (short(one["Name"]), one["Type"]) == (name, sort)]


def _change(world: World, zone: str, action: str, record: Mapping[str, Any], *, wait: bool) -> None:
    batch = {"Changes": [{"Action": action, "ResourceRecordSet": record}]}
    try:
        answer = insist(
            world,
            lambda: ask(
                world, "route53", "change_resource_record_sets", HostedZoneId=zone, ChangeBatch=batch
            ),
            lambda error: error.code in _BUSY,
            what="Route 53 to be done with an earlier change",
            timeout=seconds(world, _SPREADS),
        )
    except AwsError as error:
        if action == "DELETE" and (error.not_found or "not found" in error.said):
            return
        raise
    if not wait:
        return
    change = answer["ChangeInfo"]["Id"]

    def spread() -> bool | None:
        info = ask(world, "route53", "get_change", Id=change)["ChangeInfo"]
        return True if info["Status"] == "INSYNC" else None

    what = "Route 53's servers to have it"
    world.aws.poll(spread, what=what, timeout=seconds(world, _SPREADS), say=world.job.say)
