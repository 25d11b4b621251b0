"""DynamoDB tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, Self

from pydantic import Field, model_validator

from engine.aws.tags import narrow, tag_list, tags_for, told_tags
from engine.by_hand import aws, json_word, told, word
from engine.refs import Unknown
from engine.resource import Fields, Fixed, Output, Place, Values, plain
from engine.resources.aws._aws import finish, iam_actions, insist, ours, seconds
from engine.resources.aws._services import InService, ask, given, quietly
from engine.resources.aws._tagging import Tagging

if TYPE_CHECKING:
    from engine.world import World

_ACTIVE: Final = 600.0
_TYPES: Final = {"STRING": "S", "NUMBER": "N", "BINARY": "B"}
_LETTERS: Final = {letter: word for word, letter in _TYPES.items()}
_PROJECTIONS: Final = {"all": "ALL", "include": "INCLUDE", "keys_only": "KEYS_ONLY"}
_HOURS_A_MONTH: Final = 730.0
_READ_UNIT: Final = 0.00013
"""USD per hour of a provisioned read unit in us-east-1."""
_WRITE_UNIT: Final = 0.00065
"""USD per hour of a provisioned write unit."""

KeyType = Literal["STRING", "NUMBER", "BINARY"]


class Index(Fields):
    """A second way to look things up."""

    name: str = Field(pattern=r"^[a-zA-Z0-9_.-]{3,255}$")
    """Its name."""
    type: Literal["global_all", "global_include", "global_keys_only", "all", "include", "keys_only"] = (
        "global_all"
    )
    """`global_…` has a hash key of its own, others have the table's and stand as long as that. It holds all
    attributes, those in `includes`, or keys only."""
    hash_key_name: str | None = None
    """The attribute that it looks up by; for global ones."""
    hash_key_type: KeyType = "STRING"
    """The type of that attribute."""
    range_key_name: str | None = None
    """The attribute that it sorts by."""
    range_key_type: KeyType = "STRING"
    """The type of that attribute."""
    includes: list[str] | None = None
    """The attributes that it holds besides keys, for `…include`."""
    read_capacity: int | None = Field(default=None, ge=1)
    """Read units per second, where the table's billing mode is PROVISIONED."""
    write_capacity: int | None = Field(default=None, ge=1)
    """Write units per second."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if isinstance(self.type, Unknown):
            return self
        if self.type.startswith("global_") and self.hash_key_name is None:
            raise ValueError("a global index needs hash_key_name")
        if not self.type.startswith("global_") and self.range_key_name is None:
            raise ValueError("an index that is not global needs range_key_name")
        if (self.includes is not None) != self.type.endswith("include"):
            raise ValueError("includes goes with type include or global_include, and with no other")
        return self


class DynamodbTable(InService):
    """A DynamoDB table: items looked up by key, without a server to look after."""

    kind: ClassVar[str] = "dynamodb_table"
    actions: ClassVar[Sequence[str]] = iam_actions(
        "dynamodb",
        """
        CreateTable DeleteTable DescribeTable DescribeTimeToLive ListTagsOfResource TagResource UntagResource
        UpdateTable UpdateTimeToLive
        """,
    )
    outputs: ClassVar[Mapping[str, Output]] = {
        "id": Output("the table's name"),
        "arn": Output("its ARN"),
        "table_status": Output("ACTIVE, UPDATING, …"),
        "item_count": Output("about how many items it holds (told every six hours)"),
        "stream_arn": Output("the ARN of its stream, if it has one"),
    }
    tagging: ClassVar[Tagging] = Tagging("dynamodb", "tag_resource", "untag_resource", "ResourceArn")

    name: Fixed[str] = Field(pattern=r"^[a-zA-Z0-9_.-]{3,255}$")
    """3 to 255 letters, digits and _ . -; one of its kind in the region."""
    hash_key_name: Fixed[str] = Field(min_length=1, max_length=255)
    """The attribute that items are looked up by."""
    hash_key_type: Fixed[KeyType] = "STRING"
    """The type of that attribute."""
    range_key_name: Fixed[str | None] = Field(default=None, min_length=1, max_length=255)
    """The attribute that items of one hash key are sorted by."""
    range_key_type: Fixed[KeyType] = "STRING"
    """The type of that attribute."""
    billing_mode: Literal["PAY_PER_REQUEST", "PROVISIONED"] = "PAY_PER_REQUEST"
    """By request, or by what could be read and written each second."""
    read_capacity: int | None = Field(default=None, ge=1)
    """Read units per second, for PROVISIONED."""
    write_capacity: int | None = Field(default=None, ge=1)
    """Write units per second, for PROVISIONED."""
    indexes: list[Index] | None = Field(default=None, max_length=25)
    """Global ones are made and deleted in place, one after the other."""
    table_class: Literal["STANDARD", "STANDARD_INFREQUENT_ACCESS"] | None = None
    """The second is cheaper to keep and dearer to read."""
    deletion_protection: bool = False
    """AWS refuses to delete it."""
    stream: Literal["KEYS_ONLY", "NEW_IMAGE", "OLD_IMAGE", "NEW_AND_OLD_IMAGES", "NONE"] | None = None
    """What its stream tells of each change; NONE is no stream."""
    ttl_attribute: str | None = Field(default=None, min_length=1, max_length=255)
    """The attribute that holds when an item expires, in seconds since 1970."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if isinstance(self.billing_mode, Unknown):
            return self
        own = [self.read_capacity is not None, self.write_capacity is not None]
        if not all(own) if self.billing_mode == "PROVISIONED" else any(own):
            raise ValueError(
                "read_capacity and write_capacity go with billing_mode: PROVISIONED, both or none of them"
            )
        for index in plain(self.indexes or []) if not isinstance(self.indexes, Unknown) else ():
            units = index.get("read_capacity") is not None and index.get("write_capacity") is not None
            if _is_global(index) and units != (self.billing_mode == "PROVISIONED"):
                raise ValueError(
                    f"the index {index['name']} has read_capacity and write_capacity of its own with "
                    "billing_mode: PROVISIONED, and none without"
                )
        return self

    def foreseen(self) -> str | None:
        """Its name."""
        return self.name

    @classmethod
    def tag_target(cls, id: str, there: Values) -> str:
        """Its ARN."""
        return str(there["arn"])

    @classmethod
    def differs(cls, name: str, wanted: Any, there: Any) -> bool:
        """Indexes in any order."""
        if name == "indexes" and isinstance(wanted, list) and isinstance(there, list):
            return _by_name(wanted) != _by_name(there)
        return super().differs(name, wanted, there)

    def replaces(self, name: str, there: Values) -> bool:
        """Indexes that are not global stand as long as their table."""
        if name == "indexes" and isinstance(self.indexes, list):
            local = [item for item in plain(self.indexes) if not _is_global(item)]
            held = [item for item in there.get("indexes") or () if not _is_global(item)]
            return _by_name(local) != _by_name(held)
        return super().replaces(name, there)

    def create(self, world: World) -> str:
        """CreateTable with tags; returns once it is active."""
        indexes = plain(self.indexes or [])
        local = [_request(item, self.hash_key_name) for item in indexes if not _is_global(item)]
        other = [{**_request(item, None), **_throughput(item)} for item in indexes if _is_global(item)]
        world.aws.call(
            "dynamodb",
            "create_table",
            TableName=self.name,
            KeySchema=_schema(self.hash_key_name, self.range_key_name),
            AttributeDefinitions=self._attributes(),
            BillingMode=self.billing_mode,
            DeletionProtectionEnabled=self.deletion_protection,
            Tags=tag_list(narrow(tags_for(world))),
            **given(
                ProvisionedThroughput=_throughput(self._own()).get("ProvisionedThroughput"),
                LocalSecondaryIndexes=local or None,
                GlobalSecondaryIndexes=other or None,
                TableClass=self.table_class,
                StreamSpecification=_stream(self.stream) if self.stream not in (None, "NONE") else None,
            ),
        )
        finish(world, self.name, lambda: self._complete(world))
        return self.name

    def _own(self) -> dict[str, Any]:
        return {"read_capacity": self.read_capacity, "write_capacity": self.write_capacity}

    def _complete(self, world: World) -> None:
        _until_active(world, self.name)
        if self.ttl_attribute:
            _set_ttl(world, self.name, self.ttl_attribute)

    def _attributes(self) -> list[dict[str, str]]:
        """The attributes that are keys of something, each with its type."""
        keys = {self.hash_key_name: self.hash_key_type}
        if self.range_key_name is not None:
            keys[self.range_key_name] = self.range_key_type
        for index in self.indexes or ():
            if index.hash_key_name is not None:
                keys[index.hash_key_name] = index.hash_key_type
            if index.range_key_name is not None:
                keys[index.range_key_name] = index.range_key_type
        return [{"AttributeName": name, "AttributeType": _TYPES[sort]} for name, sort in keys.items()]

    @classmethod
    def read_many(cls, world: World, ids: Sequence[str]) -> dict[str, Values]:
        """DescribeTable, ListTagsOfResource and DescribeTimeToLive for each: nothing tells of many tables."""
        found = {}
        for name in dict.fromkeys(ids):
            answer = quietly(world, "dynamodb", "describe_table", TableName=name)
            if answer is None or answer["Table"]["TableStatus"] == "DELETING":
                continue
            table = answer["Table"]
            arn = table["TableArn"]
            tags = world.aws.pages("dynamodb", "list_tags_of_resource", "Tags", ResourceArn=arn)
            ttl = ask(world, "dynamodb", "describe_time_to_live", TableName=name)["TimeToLiveDescription"]
            on = ttl.get("TimeToLiveStatus") in ("ENABLED", "ENABLING")
            values = {**_values(table), "ttl_attribute": ttl.get("AttributeName") if on else None}
            found[name] = {**values, "tags": cls.shown_tags(tags)}
        return found

    def update(self, world: World, id: str, changed: frozenset[str]) -> None:
        """UpdateTable, one sort of change a request, as AWS wants it; each is waited for."""
        if changed & {"billing_mode", "read_capacity", "write_capacity"}:
            self._change_units(world, id)
        if "table_class" in changed and self.table_class:
            self._change(world, id, TableClass=self.table_class)
        if "deletion_protection" in changed:
            self._change(world, id, DeletionProtectionEnabled=self.deletion_protection)
        if "stream" in changed:
            self._change_stream(world, id)
        if "indexes" in changed:
            self._change_indexes(world, id)
        if "ttl_attribute" in changed:
            _set_ttl(world, id, self.ttl_attribute)

    @staticmethod
    def _change(world: World, id: str, **change: Any) -> None:
        insist(
            world,
            lambda: ask(world, "dynamodb", "update_table", TableName=id, **change),
            lambda error: error.code == "ResourceInUseException",
            what="DynamoDB to be done with an earlier change",
            timeout=seconds(world, _ACTIVE),
        )
        _until_active(world, id)

    def _change_units(self, world: World, id: str) -> None:
        """The way it is billed, for the table and the indexes that it has and keeps."""
        more = _throughput(self._own())
        held = _by_name(_values(ask(world, "dynamodb", "describe_table", TableName=id)["Table"])["indexes"])
        wanted = _by_name(plain(self.indexes or []))
        if more:
            updates = [
                {"Update": {"IndexName": name, **(_throughput(wanted.get(name, {})) or more)}}
                for name, item in held.items()
                if _is_global(item)
            ]
            more |= {"GlobalSecondaryIndexUpdates": updates} if updates else {}
        self._change(world, id, BillingMode=self.billing_mode, **more)

    def _change_stream(self, world: World, id: str) -> None:
        there = ask(world, "dynamodb", "describe_table", TableName=id)["Table"]
        if (there.get("StreamSpecification") or {}).get("StreamEnabled"):
            self._change(world, id, StreamSpecification={"StreamEnabled": False})
        if self.stream not in (None, "NONE"):
            self._change(world, id, StreamSpecification=_stream(self.stream))

    def _change_indexes(self, world: World, id: str) -> None:
        """Indexes deleted and made one by one; one that is other than wanted is made anew."""
        held = _by_name(_values(ask(world, "dynamodb", "describe_table", TableName=id)["Table"])["indexes"])
        wanted = _by_name(plain(self.indexes or []))
        for name, item in held.items():
            if _is_global(item) and not _same_index(wanted.get(name), item):
                self._change(world, id, GlobalSecondaryIndexUpdates=[{"Delete": {"IndexName": name}}])
            elif _is_global(item) and wanted[name] != item:
                units = {"IndexName": name, **_throughput(wanted[name])}
                self._change(world, id, GlobalSecondaryIndexUpdates=[{"Update": units}])
        for name, item in wanted.items():
            if _is_global(item) and not _same_index(held.get(name), item):
                make = {"Create": {**_request(item, None), **_throughput(item)}}
                update = {"GlobalSecondaryIndexUpdates": [make]}
                self._change(world, id, AttributeDefinitions=self._attributes(), **update)

    @classmethod
    def delete(cls, world: World, id: str) -> None:
        """DeleteTable, its items with it; waits until it is gone."""
        in_use = insist(
            world,
            lambda: (quietly(world, "dynamodb", "delete_table", TableName=id),),
            lambda error: error.code == "ResourceInUseException",
            what="DynamoDB to be done with an earlier change",
            timeout=seconds(world, _ACTIVE),
        )
        if in_use[0] is None:
            return
        world.aws.poll(
            lambda: True if quietly(world, "dynamodb", "describe_table", TableName=id) is None else None,
            what="the table to be deleted",
            timeout=seconds(world, _ACTIVE),
            say=world.job.say,
        )

    @classmethod
    def find(cls, world: World) -> list[str]:
        """The one of the name that the create was for, if its tags say that this create made it."""

        def tags_of(name: str) -> dict[str, str] | None:
            answer = quietly(world, "dynamodb", "describe_table", TableName=name)
            if answer is None or answer["Table"]["TableStatus"] == "DELETING":
                return None
            arn = answer["Table"]["TableArn"]
            return told_tags(world.aws.pages("dynamodb", "list_tags_of_resource", "Tags", ResourceArn=arn))

        return ours(world, tags_of)

    def foretold(self, place: Place) -> Values:
        """Its ARN."""
        return {} if isinstance(self.name, Unknown) else {"arn": place.arn("dynamodb", f"table/{self.name}")}

    def reach(self, place: Place) -> Mapping[str, Sequence[str]]:
        """This table alone."""
        arn = self.foretold(place).get("arn")
        return {action: [arn] for action in self.actions} if arn else {}

    def price(self) -> float | None:
        """Provisioned units; by request it costs nothing while nobody asks."""
        if isinstance(self.billing_mode, Unknown) or isinstance(self.indexes, Unknown):
            return None
        items = [self._own(), *(plain(self.indexes) if self.indexes else [])]
        reads = sum(item.get("read_capacity") or 0 for item in items)
        writes = sum(item.get("write_capacity") or 0 for item in items)
        return reads * _READ_UNIT + writes * _WRITE_UNIT

    def as_commands(self, action: str, id: str | None, changed: frozenset[str] = frozenset()) -> list[str]:
        """`aws dynamodb create-table`, `update-table`, and a wait."""
        if action == "delete":
            return [f"aws dynamodb delete-table --table-name {word(id)}"]
        wait = aws("wait table-exists", service="dynamodb", table_name=self.name)
        ttl = aws("update-time-to-live", service="dynamodb", table_name=self.name)
        lines = []
        if action == "create":
            command = aws(
                "create-table", service="dynamodb", table_name=self.name, billing_mode=self.billing_mode
            )
            command += f" --attribute-definitions {json_word(self._attributes())}"
            command += f" --key-schema {json_word(_schema(self.hash_key_name, self.range_key_name))}"
            units = _throughput(self._own()).get("ProvisionedThroughput")
            command += f" --provisioned-throughput {json_word(units)}" if units else ""
            indexes = plain(self.indexes or [])
            for sort, chosen in (
                ("global", [{**_request(i, None), **_throughput(i)} for i in indexes if _is_global(i)]),
                ("local", [_request(i, self.hash_key_name) for i in indexes if not _is_global(i)]),
            ):
                command += f" --{sort}-secondary-indexes {json_word(chosen)}" if chosen else ""
            lines = [command, wait]
        elif changed - {"ttl_attribute"}:
            lines = [
                aws("update-table", service="dynamodb", table_name=self.name, billing_mode=self.billing_mode),
                wait,
            ]
        if self.ttl_attribute and (action == "create" or "ttl_attribute" in changed):
            spec = {"Enabled": True, "AttributeName": self.ttl_attribute}
            lines.append(f"{ttl} --time-to-live-specification {json_word(spec)}")
        asked = aws("describe-table", service="dynamodb", table_name=self.name)
        return [*lines, *told(self, asked, {"arn": "Table.TableArn", "stream_arn": "Table.LatestStreamArn"})]


def _values(table: Mapping[str, Any]) -> Values:
    types = {one["AttributeName"]: _LETTERS[one["AttributeType"]] for one in table["AttributeDefinitions"]}
    keys = {one["KeyType"]: one["AttributeName"] for one in table["KeySchema"]}
    units = table.get("ProvisionedThroughput") or {}
    stream = table.get("StreamSpecification") or {}
    own = keys["HASH"]
    return {
        "id": table["TableName"],
        "name": table["TableName"],
        "arn": table["TableArn"],
        "table_status": table["TableStatus"],
        "item_count": table.get("ItemCount", 0),
        "stream_arn": table.get("LatestStreamArn") if stream.get("StreamEnabled") else None,
        "hash_key_name": own,
        "hash_key_type": types[own],
        "range_key_name": keys.get("RANGE"),
        "range_key_type": types.get(keys.get("RANGE", ""), "STRING"),
        "billing_mode": (table.get("BillingModeSummary") or {}).get("BillingMode", "PROVISIONED"),
        "read_capacity": units.get("ReadCapacityUnits") or None,
        "write_capacity": units.get("WriteCapacityUnits") or None,
        "indexes": [
            *(_index(one, types, "global_") for one in table.get("GlobalSecondaryIndexes") or ()),
            *(_index(one, types, "") for one in table.get("LocalSecondaryIndexes") or ()),
        ],
        "table_class": (table.get("TableClassSummary") or {}).get("TableClass", "STANDARD"),
        "deletion_protection": bool(table.get("DeletionProtectionEnabled")),
        "stream": stream.get("StreamViewType") if stream.get("StreamEnabled") else "NONE",
    }


def _index(one: Mapping[str, Any], types: Mapping[str, str], sort: str) -> dict[str, Any]:
    """An index in the playbook's words."""
    keys = {key["KeyType"]: key["AttributeName"] for key in one["KeySchema"]}
    projection = one.get("Projection") or {}
    units = one.get("ProvisionedThroughput") or {}
    item = {
        "name": one["IndexName"],
        "type": sort + projection.get("ProjectionType", "ALL").lower(),
        "hash_key_type": "STRING",
        "range_key_type": "STRING",
    }
    if sort:
        item |= {"hash_key_name": keys["HASH"], "hash_key_type": types[keys["HASH"]]}
    if "RANGE" in keys:
        item |= {"range_key_name": keys["RANGE"], "range_key_type": types[keys["RANGE"]]}
    if projection.get("NonKeyAttributes"):
        item["includes"] = sorted(projection["NonKeyAttributes"])
    if units.get("ReadCapacityUnits"):
        item["read_capacity"] = units["ReadCapacityUnits"]
        item["write_capacity"] = units["WriteCapacityUnits"]
    return item


def _by_name(items: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    found = {}
    for item in items:
        one = {key: sorted(value) if key == "includes" else value for key, value in item.items()}
        if not _is_global(one):
            one.pop("hash_key_name", None)
        found[str(one["name"])] = one
    return found


def _same_index(one: Mapping[str, Any] | None, other: Mapping[str, Any]) -> bool:
    """Whether two indexes are the same but for their units."""
    units = ("read_capacity", "write_capacity")
    return one is not None and all(
        one.get(key) == other.get(key) for key in {*one, *other} if key not in units
    )


def _is_global(item: Mapping[str, Any]) -> bool:
    return str(item["type"]).startswith("global_")


def _schema(hash_key: str, range_key: str | None) -> list[dict[str, str]]:
    schema = [{"AttributeName": hash_key, "KeyType": "HASH"}]
    return [*schema, {"AttributeName": range_key, "KeyType": "RANGE"}] if range_key else schema


def _request(item: Mapping[str, Any], hash_key: str | None) -> dict[str, Any]:
    """An index as CreateTable takes it; `hash_key` is the table's, for one that is not global."""
    sort = _PROJECTIONS[str(item["type"]).removeprefix("global_")]
    projection: dict[str, Any] = {"ProjectionType": sort}
    if item.get("includes"):
        projection["NonKeyAttributes"] = item["includes"]
    return {
        "IndexName": item["name"],
        "KeySchema": _schema(hash_key or item["hash_key_name"], item.get("range_key_name")),
        "Projection": projection,
    }


def _throughput(item: Mapping[str, Any]) -> dict[str, Any]:
    if not item.get("read_capacity"):
        return {}
    units = {"ReadCapacityUnits": item["read_capacity"], "WriteCapacityUnits": item["write_capacity"]}
    return {"ProvisionedThroughput": units}


def _stream(view: str | None) -> dict[str, Any]:
    return {"StreamEnabled": True, "StreamViewType": view}


def _until_active(world: World, name: str) -> None:
    def active() -> bool | None:
        answer = quietly(world, "dynamodb", "describe_table", TableName=name)
        if answer is None:
            return None
        table = answer["Table"]
        parts = [table, *(table.get("GlobalSecondaryIndexes") or ())]
        states = {part.get("TableStatus") or part.get("IndexStatus", "ACTIVE") for part in parts}
        return True if states == {"ACTIVE"} else None

    timeout = seconds(world, _ACTIVE)
    world.aws.poll(active, what="the table to be active", timeout=timeout, say=world.job.say)


def _set_ttl(world: World, name: str, attribute: str | None) -> None:
    """AWS takes one change of it an hour; another attribute needs the old one off first."""
    there = ask(world, "dynamodb", "describe_time_to_live", TableName=name)["TimeToLiveDescription"]
    held = there.get("AttributeName") if there.get("TimeToLiveStatus") in ("ENABLED", "ENABLING") else None
    for enabled, of in ((False, held), (True, attribute)):
        if of and held != attribute:
            spec = {"Enabled": enabled, "AttributeName": of}
            ask(world, "dynamodb", "update_time_to_live", TableName=name, TimeToLiveSpecification=spec)
