"""Messages, data, names, trails: what is refused, what is compared by meaning, what goes and what is kept."""

from __future__ import annotations

import json
import shlex
from typing import Any

import pytest
from pydantic import ValidationError

from engine.aws.errors import AwsError
from engine.errors import StepFailed
from engine.refs import Ref, Unknown
from engine.resource import Resource
from engine.resources.aws.cloudtrail import Cloudtrail
from engine.resources.aws.dynamodb import DynamodbTable
from engine.resources.aws.efs import Efs
from engine.resources.aws.rds import RdsInstance
from engine.resources.aws.route53_records import Route53Record
from engine.resources.aws.route53_zones import Route53Zone
from engine.resources.aws.sns import SnsTopic
from engine.resources.aws.sqs import SqsQueue
from engine.resources.s3.buckets import S3Bucket
from tests.kinds.aws_stage import Stage

# -- messages ------------------------------------------------------------------------------------------------


def test_a_topic_of_others_is_left_alone(stage: Stage, client: Any) -> None:
    name = f"{stage.lab}-taken"
    arn = client("sns").create_topic(Name=name, Tags=[{"Key": "who", "Value": "others"}])["TopicArn"]
    with pytest.raises(StepFailed, match=f"a topic {name} is there already"):
        SnsTopic(name=name).create(stage.world(foreseen=name))
    client("sns").delete_topic(TopicArn=arn)


def test_a_queue_of_others_is_left_alone(stage: Stage, client: Any) -> None:
    name = f"{stage.lab}-taken"
    url = client("sqs").create_queue(QueueName=name)["QueueUrl"]
    with pytest.raises(StepFailed, match=f"a queue {name} is there already"):
        SqsQueue(name=name).create(stage.world(foreseen=name))
    assert SqsQueue.find(stage.world(foreseen=name)) == []
    client("sqs").delete_queue(QueueUrl=url)


def test_the_same_create_again_is_the_same_queue(stage: Stage) -> None:
    name = f"{stage.lab}-again"
    world = stage.world(token="t-1", foreseen=name)
    queue = SqsQueue(name=name, delay_seconds=5)
    id = queue.create(world)
    stage.made.append((SqsQueue, id))
    assert queue.create(world) == id


def test_mail_that_nobody_confirmed_does_not_differ(stage: Stage) -> None:
    topic = SnsTopic.model_validate(
        {"name": f"{stage.lab}-mail", "subscriptions": [{"protocol": "email", "endpoint": "ana@example.com"}]}
    )
    there = stage.make(topic, "topic")
    assert not SnsTopic.differs("subscriptions", topic.wanted()["subscriptions"], there["subscriptions"])
    words = SnsTopic.describe_difference("subscriptions", [], there["subscriptions"])
    assert words == "ana@example.com has subscribed and is not in the playbook"
    stay = topic.model_copy(update={"subscriptions": [], "purge_subscriptions": False})
    assert not SnsTopic.differs("subscriptions", stay.wanted()["subscriptions"], there["subscriptions"])


@pytest.mark.parametrize("kind", [SnsTopic, SqsQueue])
def test_commands_name_what_a_policy_refers_to(kind: type[Resource]) -> None:
    topic = Unknown(frozenset({Ref("topic", "arn")}))
    statement = {
        "Effect": "Allow",
        "Principal": "*",
        "Action": "*",
        "Resource": "*",
        "Condition": {"ArnEquals": {"aws:SourceArn": topic}},
    }
    wish = kind.model_validate({"name": "fan", "policy": {"Statement": [statement]}}).at("fan")
    command = " ".join(wish.as_commands("create", None))
    attributes = command.partition("--attributes ")[2].partition(" --query")[0]
    sent = shlex.split(attributes.replace("'\"$TOPIC_ARN\"'", "arn:topic"))[0]
    assert json.loads(json.loads(sent)["Policy"])["Statement"][0]["Condition"] == {
        "ArnEquals": {"aws:SourceArn": "arn:topic"}
    }


def test_commands_change_the_throughput_of_a_file_system() -> None:
    wish = Efs(throughput_mode="provisioned", provisioned_throughput_in_mibps=8).at("shared")
    assert wish.as_commands("update", "fs-1", frozenset({"provisioned_throughput_in_mibps"})) == [
        "aws efs update-file-system --throughput-mode provisioned --provisioned-throughput-in-mibps 8.0 "
        "--file-system-id fs-1"
    ]


def test_commands_name_an_address_that_is_not_known_yet() -> None:
    address = Unknown(frozenset({Ref("address", "public_ip")}))
    fields = {"hosted_zone_id": "Z1", "record": "www.lab.example.com", "type": "A", "value": address}
    [command] = Route53Record.model_validate(fields).at("www").as_commands("create", None)
    assert '"ResourceRecords": [{"Value": "\'"$ADDRESS_PUBLIC_IP"\'"}]' in command


def test_commands_change_the_attributes_that_have_changed() -> None:
    topic = SnsTopic(name="news.fifo", topic_type="fifo", display_name="News", kms_master_key_id="key").at(
        "t"
    )
    assert topic.as_commands("update", "arn:t", frozenset({"display_name"})) == [
        "aws sns set-topic-attributes --attribute-name DisplayName --attribute-value News --topic-arn arn:t"
    ]


# -- data ----------------------------------------------------------------------------------------------------


def test_a_local_index_is_as_old_as_its_table() -> None:
    fields = {"name": "votes", "hash_key_name": "voter", "range_key_name": "at"}
    local = {"name": "by_choice", "type": "all", "range_key_name": "choice"}
    wanted = DynamodbTable.model_validate({**fields, "indexes": [local]})
    assert wanted.replaces("indexes", {"indexes": []})
    other = DynamodbTable.model_validate({**fields, "indexes": [{"name": "abc", "hash_key_name": "choice"}]})
    assert not other.replaces("indexes", {"indexes": []})


def test_units_change_in_place(stage: Stage) -> None:
    index = {"name": "choices", "hash_key_name": "choice"}
    fields: dict[str, Any] = {"name": f"{stage.lab}-units", "hash_key_name": "voter"}
    stage.make(DynamodbTable.model_validate({**fields, "indexes": [index]}), "table")

    def units(own: int, of_index: int) -> DynamodbTable:
        items = [{**index, "read_capacity": of_index, "write_capacity": of_index}]
        own_units = {"billing_mode": "PROVISIONED", "read_capacity": own, "write_capacity": own}
        return DynamodbTable.model_validate({**fields, **own_units, "indexes": items})

    world, id = stage.world("table"), f"{stage.lab}-units"
    for wanted in (units(2, 1), units(2, 3)):
        before = DynamodbTable.read_many(world, [id])[id]
        changed = {
            name
            for name, value in wanted.wanted().items()
            if DynamodbTable.differs(name, value, before[name])
        }
        wanted.update(world, id, frozenset(changed))
        there = DynamodbTable.read_many(world, [id])[id]
        assert not DynamodbTable.differs("indexes", wanted.wanted()["indexes"], there["indexes"])
        assert there["billing_mode"] == "PROVISIONED"
        assert changed & {"indexes"}


def test_a_tables_price_is_that_of_its_units() -> None:
    fields: dict[str, Any] = {"name": "votes", "hash_key_name": "voter"}
    assert DynamodbTable.model_validate(fields).price() == 0
    units = {"billing_mode": "PROVISIONED", "read_capacity": 10, "write_capacity": 10}
    assert DynamodbTable.model_validate({**fields, **units}).price() == pytest.approx(0.0078)


def test_a_protected_table_stays(stage: Stage) -> None:
    fields = {"name": f"{stage.lab}-kept", "hash_key_name": "voter"}
    table = DynamodbTable.model_validate({**fields, "deletion_protection": True})
    id = table.create(stage.world())
    with pytest.raises(AwsError, match="DeletionProtection"):
        DynamodbTable.delete(stage.world(), id)
    DynamodbTable.model_validate(fields).update(stage.world(), id, frozenset({"deletion_protection"}))
    DynamodbTable.delete(stage.world(), id)


def database(stage: Stage, **fields: Any) -> RdsInstance:
    return RdsInstance.model_validate(
        {
            "db_instance_identifier": f"{stage.lab}-db",
            "engine": "mysql",
            "db_instance_class": "db.t3.micro",
            "allocated_storage": 20,
            "master_username": "admin",
            "manage_master_user_password": True,
            **fields,
        }
    )


def test_the_last_snapshot_is_kept_where_it_was_decided(stage: Stage, client: Any) -> None:
    world = stage.world()
    wanted = database(stage, final_db_snapshot_identifier=f"{stage.lab}-last")
    id = wanted.create(world)
    there = RdsInstance.read_many(world, [id])[id]
    assert there["final_db_snapshot_identifier"] == f"{stage.lab}-last"
    assert "labctl:final_snapshot" not in there["tags"]
    RdsInstance.delete(world, id)
    snapshots = client("rds").describe_db_snapshots()["DBSnapshots"]
    assert [one["DBSnapshotIdentifier"] for one in snapshots] == [f"{stage.lab}-last"]
    client("rds").delete_db_snapshot(DBSnapshotIdentifier=f"{stage.lab}-last")


def test_another_decision_is_written_down(stage: Stage, client: Any) -> None:
    stage.make(database(stage, final_db_snapshot_identifier="last"), "db")
    id = f"{stage.lab}-db"
    other = database(stage, skip_final_snapshot=True)
    there = RdsInstance.read_many(stage.world(), [id])[id]
    assert RdsInstance.differs("skip_final_snapshot", True, there["skip_final_snapshot"])
    other.update(stage.world(), id, frozenset({"skip_final_snapshot"}))
    assert RdsInstance.read_many(stage.world(), [id])[id]["skip_final_snapshot"] is True


def test_a_database_without_a_decision_stays(stage: Stage, client: Any) -> None:
    id, rds = f"{stage.lab}-foreign", client("rds")
    rds.create_db_instance(
        DBInstanceIdentifier=id,
        Engine="mysql",
        DBInstanceClass="db.t3.micro",
        AllocatedStorage=20,
        MasterUsername="admin",
        MasterUserPassword="not-really-secret",
    )
    with pytest.raises(StepFailed, match="what is to become of its data is not written down"):
        RdsInstance.delete(stage.world(), id)
    rds.delete_db_instance(DBInstanceIdentifier=id, SkipFinalSnapshot=True)


def test_versions_are_compared_as_far_as_they_are_asked_for() -> None:
    assert not RdsInstance.differs("engine_version", "16", "16.4")
    assert RdsInstance.differs("engine_version", "16.3", "16.4")
    assert RdsInstance.differs("engine_version", "1", "16.4")


def test_a_databases_price(stage: Stage) -> None:
    assert database(stage, skip_final_snapshot=True).price() == pytest.approx(0.017 + 20 * 0.115 / 730)
    twice = database(stage, skip_final_snapshot=True, multi_az=True).price()
    assert twice == pytest.approx(2 * (0.017 + 20 * 0.115 / 730))
    assert database(stage, skip_final_snapshot=True, db_instance_class="db.x9.huge").price() is None


def test_storage_never_shrinks(stage: Stage) -> None:
    wanted = database(stage, skip_final_snapshot=True)
    assert wanted.replaces("allocated_storage", {"allocated_storage": 40})
    assert not wanted.replaces("allocated_storage", {"allocated_storage": 10})


# -- names ---------------------------------------------------------------------------------------------------


def record(zone: str, **fields: Any) -> Route53Record:
    return Route53Record.model_validate(
        {"hosted_zone_id": zone, "record": "www.example.net", "type": "A", "value": "192.0.2.1", **fields}
    )


def foreign(client: Any, zone: str, action: str, value: str = "192.0.2.9") -> None:
    answers = [{"Value": value}]
    one = {"Name": "www.example.net", "Type": "A", "TTL": 300, "ResourceRecords": answers}
    change = {"Action": action, "ResourceRecordSet": one}
    client("route53").change_resource_record_sets(HostedZoneId=zone, ChangeBatch={"Changes": [change]})


def test_a_record_of_others_is_left_alone_unless_asked(stage: Stage, client: Any) -> None:
    zone = stage.make(Route53Zone(zone="example.net"), "zone")["id"]
    foreign(client, zone, "CREATE")
    wanted = record(zone)
    with pytest.raises(StepFailed, match=r"www.example.net A is there already") as refused:
        wanted.create(stage.world(foreseen=wanted.foreseen() or ""))
    assert "overwrite: true" in refused.value.remedy
    assert Route53Record.find(stage.world(foreseen=wanted.foreseen() or "")) == []
    id = record(zone, overwrite=True).create(stage.world())
    assert Route53Record.read_many(stage.world(), [id])[id]["value"] == ["192.0.2.1"]
    Route53Record.delete(stage.world(), id)


def test_a_zone_with_records_of_others_stays(stage: Stage, client: Any) -> None:
    world = stage.world()
    id = Route53Zone(zone="example.net").create(world)
    foreign(client, id, "CREATE")
    with pytest.raises(StepFailed, match=r"it holds records made outside this lab \(www.example.net. A\)"):
        Route53Zone.delete(world, id)
    foreign(client, id, "DELETE")
    Route53Zone.delete(world, id)
    assert Route53Zone.read_many(world, [id]) == {}


def test_text_is_quoted_as_the_dns_wants_it(stage: Stage) -> None:
    zone = stage.make(Route53Zone(zone="example.net"), "zone")["id"]
    wanted = record(zone, type="TXT", value=['v=spf1 include:"x" -all', "x" * 300])
    there = stage.make(wanted, "text")
    assert there["value"] == [r'"v=spf1 include:\"x\" -all"', f'"{"x" * 255}" "{"x" * 45}"']
    assert not Route53Record.differs("value", wanted.wanted()["value"], there["value"])


def test_reads_are_one_a_zone(stage: Stage) -> None:
    zone = stage.make(Route53Zone(zone="example.net"), "zone")["id"]
    ids = []
    for at in range(5):
        wanted = record(zone, record=f"w{at}.example.net", wait=False)
        ids.append(stage.make(wanted, f"w{at}")["id"])
    world = stage.world()
    before = len(world.aws.requests)
    assert len(Route53Record.read_many(world, ids)) == 5
    assert len(world.aws.requests) - before == 1


# -- trails --------------------------------------------------------------------------------------------------


def test_what_a_trail_wrote_stays(stage: Stage) -> None:
    bucket = stage.make(S3Bucket(name=f"{stage.lab}-audit", force=True), "bucket")["id"]
    world = stage.world()
    id = Cloudtrail(name=f"{stage.lab}-audit", s3_bucket_name=bucket, enable_logging=False).create(world)
    assert Cloudtrail.read_many(world, [id])[id]["enable_logging"] is False
    Cloudtrail.delete(world, id)
    assert S3Bucket.read_many(world, [bucket])


# -- what is wrong in a playbook -----------------------------------------------------------------------------

RDS = {
    "db_instance_identifier": "db",
    "engine": "mysql",
    "db_instance_class": "db.t3.micro",
    "allocated_storage": 20,
    "master_username": "admin",
}


@pytest.mark.parametrize(
    ("kind", "fields", "words"),
    [
        (SnsTopic, {"name": "a b"}, "AWS allows 1 to 256 letters"),
        (SnsTopic, {"name": "news", "topic_type": "fifo"}, "ends in .fifo"),
        (SqsQueue, {"name": "work.fifo"}, "ends in .fifo"),
        (SqsQueue, {"name": "w" * 81}, "AWS allows 1 to 80 letters"),
        (SqsQueue, {"name": "work", "content_based_deduplication": True}, "is for queue_type: fifo"),
        (DynamodbTable, {"name": "ab", "hash_key_name": "k"}, "pattern"),
        (
            DynamodbTable,
            {"name": "votes", "hash_key_name": "k", "read_capacity": 1},
            "go with billing_mode: PROVISIONED",
        ),
        (
            DynamodbTable,
            {"name": "votes", "hash_key_name": "k", "indexes": [{"name": "abc"}]},
            "a global index needs hash_key_name",
        ),
        (
            DynamodbTable,
            {
                "name": "votes",
                "hash_key_name": "k",
                "indexes": [{"name": "abc", "hash_key_name": "c", "read_capacity": 1, "write_capacity": 1}],
            },
            "has read_capacity and write_capacity of its own with",
        ),
        (Efs, {"throughput_mode": "provisioned"}, "goes with throughput_mode: provisioned"),
        (Efs, {"encrypt": False, "kms_key_id": "k"}, "needs encrypt: true"),
        (RdsInstance, {**RDS, "skip_final_snapshot": True}, "who keeps the password"),
        (
            RdsInstance,
            {**RDS, "manage_master_user_password": True},
            "decide what becomes of the data when it is deleted",
        ),
        (
            RdsInstance,
            {**RDS, "skip_final_snapshot": True, "master_user_password": "with a space"},
            "RDS takes no",
        ),
        (Route53Zone, {"zone": "not a domain"}, "is no domain"),
        (
            Route53Record,
            {"hosted_zone_id": "Z1", "record": "a.b", "type": "CNAME", "value": ["x", "y"]},
            "a CNAME has one value",
        ),
        (Route53Record, {"hosted_zone_id": "Z1", "record": "a.b", "type": "A"}, "write either value"),
        (Cloudtrail, {"name": "a", "s3_bucket_name": "b"}, "at least 3 characters"),
        (
            Cloudtrail,
            {"name": "audit", "s3_bucket_name": "b", "cloudwatch_logs_role_arn": "r"},
            "go together",
        ),
    ],
)
def test_wrong_fields_are_told(kind: type[Resource], fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        kind.model_validate(fields)
