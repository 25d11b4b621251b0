"""An example of each kind that keeps data."""

from __future__ import annotations

from engine.resource import Resource
from engine.resources.aws.dynamodb import DynamodbTable
from engine.resources.aws.efs import Efs
from engine.resources.aws.rds import RdsInstance
from engine.resources.ec2.network import Ec2VpcNet, Ec2VpcSubnet
from engine.resources.ec2.security import Ec2SecurityGroup
from tests.kinds.aws_examples import Example
from tests.kinds.aws_stage import Stage


def table(stage: Stage) -> tuple[Resource, Resource | None]:
    common = {
        "name": f"{stage.lab}-votes",
        "hash_key_name": "voter",
        "range_key_name": "at",
        "range_key_type": "NUMBER",
    }
    local = {"name": "by_choice", "type": "keys_only", "range_key_name": "choice"}
    first = {
        **common,
        "indexes": [{"name": "choices", "hash_key_name": "choice"}, local],
        "ttl_attribute": "expires",
    }
    second = {
        **common,
        "billing_mode": "PROVISIONED",
        "read_capacity": 2,
        "write_capacity": 1,
        "indexes": [
            {
                "name": "times",
                "type": "global_include",
                "hash_key_name": "at",
                "hash_key_type": "NUMBER",
                "includes": ["choice"],
                "read_capacity": 1,
                "write_capacity": 1,
            },
            local,
        ],
        "stream": "NEW_IMAGE",
    }
    return DynamodbTable.model_validate(first), DynamodbTable.model_validate(second)


def file_system(stage: Stage) -> tuple[Resource, Resource | None]:
    vpc = stage.make(Ec2VpcNet(cidr_block="10.9.0.0/16"), "vpc")["id"]
    one = stage.make(Ec2VpcSubnet(vpc_id=vpc, cidr="10.9.0.0/24", az="us-east-1a"), "one")["id"]
    two = stage.make(Ec2VpcSubnet(vpc_id=vpc, cidr="10.9.1.0/24", az="us-east-1b"), "two")["id"]
    nfs = Ec2SecurityGroup(group_name="nfs", description="nfs", vpc_id=vpc)
    other = Ec2SecurityGroup(group_name="other", description="other", vpc_id=vpc)
    group, changed = stage.make(nfs, "nfs")["id"], stage.make(other, "other")["id"]
    first = {
        "targets": [
            {"subnet_id": one, "security_groups": [group]},
        ],
        "transition_to_ia": "30",
    }
    second = {
        "throughput_mode": "provisioned",
        "provisioned_throughput_in_mibps": 10,
        "transition_to_ia": "None",
        "targets": [
            {"subnet_id": one, "security_groups": [changed]},
            {"subnet_id": two, "security_groups": [group]},
        ],
    }
    return Efs.model_validate(first), Efs.model_validate(second)


def database(stage: Stage) -> tuple[Resource, Resource | None]:
    common = {
        "db_instance_identifier": f"{stage.lab}-db",
        "engine": "postgres",
        "master_username": "ana",
        "db_name": "votes",
        "allocated_storage": 20,
    }
    first = {
        **common,
        "db_instance_class": "db.t3.micro",
        "master_user_password": "not-really-secret",
        "skip_final_snapshot": True,
    }
    second = {
        **common,
        "db_instance_class": "db.t3.small",
        "allocated_storage": 30,
        "master_user_password": "another-one",
        "backup_retention_period": 3,
        "skip_final_snapshot": True,
    }
    return RdsInstance.model_validate(first), RdsInstance.model_validate(second)


EXAMPLES: dict[str, Example] = {"dynamodb_table": table, "efs": file_system, "rds_instance": database}
