"""RDS: databases that AWS looks after."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, Self

from pydantic import Field, field_validator, model_validator

from engine.aws.tags import narrow, tag_list, tags_for, told_tags
from engine.by_hand import aws, told, word
from engine.errors import StepFailed
from engine.resource import Fixed, Id, Output, Place, Secret, Unread, Values
from engine.resources.aws._aws import finish, iam_actions, insist, ours, seconds
from engine.resources.aws._rds_prices import hourly
from engine.resources.aws._services import InService, ask, given, quietly
from engine.resources.aws._tagging import Tagging

if TYPE_CHECKING:
    from engine.world import World

_FINAL: Final = "labctl:final_snapshot"
"""What is to be kept when it goes: deleting knows nothing but the identifier."""
_NONE: Final = "none"
_COMES: Final = 2400.0
"""Seconds until a database is available: 5 to 15 minutes for most, more for large ones."""
_GOES: Final = 1800.0
_BUSY: Final = frozenset({"InvalidDBInstanceState", "InvalidDBInstanceStateFault"})
_IDENTIFIER: Final = re.compile(r"[a-zA-Z](-?[a-zA-Z0-9])*")

_SETTINGS: Final = {
    "engine_version": "EngineVersion",
    "db_instance_class": "DBInstanceClass",
    "allocated_storage": "AllocatedStorage",
    "max_allocated_storage": "MaxAllocatedStorage",
    "storage_type": "StorageType",
    "iops": "Iops",
    "vpc_security_group_ids": "VpcSecurityGroupIds",
    "publicly_accessible": "PubliclyAccessible",
    "multi_az": "MultiAZ",
    "backup_retention_period": "BackupRetentionPeriod",
    "preferred_backup_window": "PreferredBackupWindow",
    "preferred_maintenance_window": "PreferredMaintenanceWindow",
    "deletion_protection": "DeletionProtection",
    "auto_minor_version_upgrade": "AutoMinorVersionUpgrade",
    "db_parameter_group_name": "DBParameterGroupName",
}
"""What both CreateDBInstance and ModifyDBInstance take."""


class RdsInstance(InService):
    """A database that AWS looks after: MySQL, PostgreSQL, MariaDB, Oracle or SQL Server."""

    kind: ClassVar[str] = "rds_instance"
    actions: ClassVar[Sequence[str]] = (
        iam_actions(
            "rds",
            """
            AddTagsToResource CreateDBInstance CreateDBSnapshot DeleteDBInstance DescribeDBInstances
            ListTagsForResource ModifyDBInstance RemoveTagsFromResource
            """,
        )
        + iam_actions("ec2", "DescribeSecurityGroups DescribeSubnets DescribeVpcs")
        + iam_actions("iam", "CreateServiceLinkedRole")
        + iam_actions("secretsmanager", "CreateSecret TagResource")
        + iam_actions("kms", "DescribeKey")
    )
    outputs: ClassVar[Mapping[str, Output]] = {
        "id": Output("its identifier"),
        "arn": Output("its ARN"),
        "endpoint_address": Output("the name that programs connect to"),
        "endpoint_port": Output("the port"),
        "status": Output("available, modifying, …"),
        "master_user_secret_arn": Output("the secret in Secrets Manager with the password, if AWS keeps it"),
    }
    tagging: ClassVar[Tagging] = Tagging(
        "rds", "add_tags_to_resource", "remove_tags_from_resource", "ResourceName"
    )
    own_tags: ClassVar[frozenset[str]] = frozenset({_FINAL})

    db_instance_identifier: Fixed[str]
    """1 to 63 letters, digits and single dashes; begins with a letter. One of its kind in the region."""
    engine: Fixed[
        Literal[
            "mysql",
            "postgres",
            "mariadb",
            "oracle-ee",
            "oracle-se2",
            "sqlserver-ee",
            "sqlserver-se",
            "sqlserver-ex",
            "sqlserver-web",
        ]
    ]
    """What database."""
    engine_version: str | None = None
    """`16` or `16.4`; AWS's default where left out. A longer one that begins so is the same."""
    db_instance_class: str = Field(pattern=r"^db\.[a-z0-9]+\.[a-z0-9]+$")
    """`db.t3.micro`, `db.m6g.large`, …"""
    allocated_storage: int = Field(ge=5, le=65536)
    """GiB; grows in place, never shrinks."""
    max_allocated_storage: int | None = Field(default=None, ge=6, le=65536)
    """GiB up to which AWS lets it grow by itself."""
    storage_type: Literal["gp2", "gp3", "io1", "io2", "standard"] = "gp3"
    """What disks."""
    iops: int | None = Field(default=None, ge=1000, le=256000)
    """Operations per second, for io1, io2 and large gp3."""
    storage_encrypted: Fixed[bool] = True
    """With AWS's key, or `kms_key_id`."""
    kms_key_id: Fixed[str | None] = None
    """The key it is encrypted with."""
    master_username: Fixed[str] = Field(min_length=1, max_length=63, pattern=r"^[A-Za-z][A-Za-z0-9_]*$")
    """The first user; `admin` and `postgres` are usual."""
    master_user_password: Secret[str | None] = Field(default=None, min_length=8, max_length=128)
    """The password, from a variable of type secret; not / \" @ or spaces."""
    manage_master_user_password: bool | None = None
    """AWS makes the password, keeps it in Secrets Manager and changes it every week."""
    db_name: Fixed[str | None] = Field(default=None, pattern=r"^[A-Za-z][A-Za-z0-9_]{0,63}$")
    """A first database in it."""
    port: Fixed[int | None] = Field(default=None, ge=1150, le=65535)
    """The engine's usual one where left out."""
    db_subnet_group_name: Fixed[str | None] = None
    """The subnets it may stand in; the default VPC's where left out."""
    vpc_security_group_ids: list[Id] | None = None
    """Ids of groups; the VPC's default group where left out."""
    publicly_accessible: bool = False
    """It has a public address."""
    multi_az: bool = False
    """A second one stands by in another zone, at twice the price."""
    availability_zone: Fixed[str | None] = None
    """AWS chooses where left out."""
    backup_retention_period: int | None = Field(default=None, ge=0, le=35)
    """Days that backups are kept; 0 makes none."""
    preferred_backup_window: str | None = Field(default=None, pattern=r"^\d\d:\d\d-\d\d:\d\d$")
    """When backups are made, UTC: `03:00-03:30`."""
    preferred_maintenance_window: str | None = None
    """When it may be changed, UTC: `sun:04:00-sun:04:30`."""
    auto_minor_version_upgrade: bool | None = None
    """AWS brings it to newer minor versions."""
    db_parameter_group_name: str | None = None
    """Settings of the engine."""
    deletion_protection: bool = False
    """AWS refuses to delete it."""
    skip_final_snapshot: bool | None = None
    """True: when it is deleted, all that is in it is gone."""
    final_db_snapshot_identifier: str | None = None
    """The name of the snapshot that is kept of it when it is deleted."""
    apply_immediately: Unread[bool] = True
    """False: changes wait for the next maintenance window."""

    @field_validator("db_instance_identifier", "final_db_snapshot_identifier")
    @classmethod
    def _identifier(cls, value: Any) -> Any:
        if isinstance(value, str) and (not _IDENTIFIER.fullmatch(value) or len(value) > 63):
            raise ValueError("RDS allows 1 to 63 letters, digits and single dashes, a letter first")
        return value

    @field_validator("master_user_password")
    @classmethod
    def _password(cls, value: Any) -> Any:
        if isinstance(value, str) and re.search(r"[/\"@\s]|[^\x20-\x7e]", value):
            raise ValueError('RDS takes no / " @ or spaces in a password')
        return value

    @model_validator(mode="after")
    def _decided(self) -> Self:
        if self.master_user_password is not None and self.manage_master_user_password is True:
            raise ValueError("write either master_user_password or manage_master_user_password: true")
        if self.master_user_password is None and self.manage_master_user_password in (None, False):
            raise ValueError(
                "who keeps the password? master_user_password from a secret, or "
                "manage_master_user_password: true (AWS keeps it in Secrets Manager)"
            )
        if (self.skip_final_snapshot is True) == (self.final_db_snapshot_identifier is not None):
            raise ValueError(
                "decide what becomes of the data when it is deleted: skip_final_snapshot: true "
                "(it is gone), or final_db_snapshot_identifier (it is kept under that name)"
            )
        return self

    def wanted(self, also: Sequence[str] = ()) -> Values:
        """The values asked for; the decision about the last snapshot is read as one."""
        values = super().wanted(also)
        if "final_db_snapshot_identifier" in values or "skip_final_snapshot" in values:
            values["skip_final_snapshot"] = self.final_db_snapshot_identifier is None
        return values

    @classmethod
    def differs(cls, name: str, wanted: Any, there: Any) -> bool:
        """Groups in any order; versions by their beginning; names of windows without regard to capitals."""
        if name == "vpc_security_group_ids" and isinstance(wanted, list) and isinstance(there, list):
            return {str(item) for item in wanted} != set(there)
        if name == "engine_version" and isinstance(wanted, str) and isinstance(there, str):
            return there != wanted and not there.startswith(f"{wanted}.")
        if (
            name in ("preferred_maintenance_window", "db_instance_identifier")
            and isinstance(wanted, str)
            and isinstance(there, str)
        ):
            return wanted.lower() != there.lower()
        return super().differs(name, wanted, there)

    def replaces(self, name: str, there: Values) -> bool:
        """Storage never shrinks."""
        if name == "allocated_storage" and isinstance(self.allocated_storage, int):
            return self.allocated_storage < (there.get("allocated_storage") or 0)
        return super().replaces(name, there)

    def foreseen(self) -> str | None:
        """Its identifier, which RDS writes in small letters."""
        name = self.db_instance_identifier
        return name.lower() if isinstance(name, str) else name

    def _note(self) -> dict[str, str]:
        return {_FINAL: self.final_db_snapshot_identifier or _NONE}

    @classmethod
    def tag_target(cls, id: str, there: Values) -> str:
        """Its ARN."""
        return str(there["arn"])

    def create(self, world: World) -> str:
        """CreateDBInstance with tags; returns once it is available, after 5 to 15 minutes."""
        settings = {told_: getattr(self, name) for name, told_ in _SETTINGS.items()}
        world.aws.call(
            "rds",
            "create_db_instance",
            DBInstanceIdentifier=self.db_instance_identifier,
            Engine=self.engine,
            StorageEncrypted=self.storage_encrypted,
            MasterUsername=self.master_username,
            Tags=tag_list(narrow(tags_for(world, self._note()))),
            **given(
                **settings,
                MasterUserPassword=self.master_user_password,
                ManageMasterUserPassword=self.manage_master_user_password or None,
                KmsKeyId=self.kms_key_id,
                DBName=self.db_name,
                Port=self.port,
                DBSubnetGroupName=self.db_subnet_group_name,
                AvailabilityZone=self.availability_zone,
            ),
        )
        id = str(self.foreseen())
        finish(world, id, lambda: _until_available(world, id))
        return id

    @classmethod
    def read_many(cls, world: World, ids: Sequence[str]) -> dict[str, Values]:
        """DescribeDBInstances for all; ones that are going are gone."""
        return {
            one["DBInstanceIdentifier"]: cls._values(one)
            for one in world.aws.pages("rds", "describe_db_instances", "DBInstances")
            if one["DBInstanceIdentifier"] in ids and one["DBInstanceStatus"] != "deleting"
        }

    @classmethod
    def _values(cls, one: Mapping[str, Any]) -> Values:
        endpoint = one.get("Endpoint") or {}
        secret = one.get("MasterUserSecret") or {}
        tags = told_tags(one.get("TagList"))
        final = tags.get(_FINAL)
        groups = one.get("VpcSecurityGroups", ())
        parameters = one.get("DBParameterGroups") or [{}]
        # What waits for the maintenance window is as good as done.
        told_ = {**one, **(one.get("PendingModifiedValues") or {})}
        plain = {name: told_[key] for name, key in _SETTINGS.items() if key in told_}
        return {
            **plain,
            "id": one["DBInstanceIdentifier"],
            "db_instance_identifier": one["DBInstanceIdentifier"],
            "arn": one["DBInstanceArn"],
            "status": one["DBInstanceStatus"],
            "endpoint_address": endpoint.get("Address"),
            "endpoint_port": endpoint.get("Port"),
            "master_user_secret_arn": secret.get("SecretArn"),
            "manage_master_user_password": bool(secret),
            "engine": one["Engine"],
            "storage_encrypted": bool(one.get("StorageEncrypted")),
            "kms_key_id": one.get("KmsKeyId"),
            "master_username": one.get("MasterUsername"),
            "db_name": one.get("DBName"),
            "port": endpoint.get("Port") or one.get("DbInstancePort"),
            "db_subnet_group_name": (one.get("DBSubnetGroup") or {}).get("DBSubnetGroupName"),
            "availability_zone": one.get("AvailabilityZone"),
            "vpc_security_group_ids": [group["VpcSecurityGroupId"] for group in groups],
            "db_parameter_group_name": parameters[0].get("DBParameterGroupName"),
            "skip_final_snapshot": final == _NONE if final else None,
            "final_db_snapshot_identifier": final if final != _NONE else None,
            "tags": cls.shown_tags(one.get("TagList")),
        }

    def update(self, world: World, id: str, changed: frozenset[str]) -> None:
        """ModifyDBInstance, all in one request; waits until it is available again."""
        if changed & {"skip_final_snapshot", "final_db_snapshot_identifier"}:
            [there] = type(self).read_many(world, [id]).values()
            note = tag_list(narrow(self._note()))
            ask(world, "rds", "add_tags_to_resource", ResourceName=there["arn"], Tags=note)
        settings = {told_: getattr(self, name) for name, told_ in _SETTINGS.items() if name in changed}
        if "master_user_password" in changed:
            settings["MasterUserPassword"] = self.master_user_password
        if "manage_master_user_password" in changed:
            settings["ManageMasterUserPassword"] = bool(self.manage_master_user_password)
        if not given(**settings):
            return
        major = {"AllowMajorVersionUpgrade": True} if "engine_version" in changed else {}
        insist(
            world,
            lambda: ask(
                world,
                "rds",
                "modify_db_instance",
                DBInstanceIdentifier=id,
                ApplyImmediately=self.apply_immediately,
                **given(**settings),
                **major,
            ),
            lambda error: error.code in _BUSY,
            what="RDS to be done with an earlier change",
            timeout=seconds(world, _COMES),
        )
        _until_available(world, id, at_once=self.apply_immediately)

    @classmethod
    def delete(cls, world: World, id: str) -> None:
        """DeleteDBInstance, with the last snapshot that the playbook decided on; waits until it is gone."""
        answer = quietly(world, "rds", "describe_db_instances", DBInstanceIdentifier=id)
        if answer is None or not answer["DBInstances"]:
            return
        [there] = answer["DBInstances"]
        final = told_tags(there.get("TagList")).get(_FINAL)
        if final is None:
            raise StepFailed(
                f"the database {id} is not deleted: what is to become of its data is not written down",
                f"tag it: {_FINAL} = none (all is gone), or the name of the snapshot to keep",
            )
        keep: dict[str, Any] = {"SkipFinalSnapshot": True}
        if final != _NONE:
            keep = {"SkipFinalSnapshot": False, "FinalDBSnapshotIdentifier": final}
        if there["DBInstanceStatus"] != "deleting":
            insist(
                world,
                lambda: (
                    quietly(
                        world,
                        "rds",
                        "delete_db_instance",
                        DBInstanceIdentifier=id,
                        **{**keep, "DeleteAutomatedBackups": True},
                    ),
                ),
                lambda error: error.code in _BUSY,
                what="RDS to be done with an earlier change",
                timeout=seconds(world, _COMES),
            )
        world.aws.poll(
            lambda: (
                True
                if quietly(world, "rds", "describe_db_instances", DBInstanceIdentifier=id) is None
                else None
            ),
            what="the database to be deleted",
            timeout=seconds(world, _GOES),
            say=world.job.say,
        )

    @classmethod
    def find(cls, world: World) -> list[str]:
        """The one of the identifier that the create was for, if its tags say that this create made it."""

        def tags_of(name: str) -> dict[str, str] | None:
            answer = quietly(world, "rds", "describe_db_instances", DBInstanceIdentifier=name)
            instances = answer["DBInstances"] if answer else []
            return told_tags(instances[0].get("TagList")) if instances else None

        return ours(world, tags_of)

    def foretold(self, place: Place) -> Values:
        """Its ARN."""
        name = self.foreseen()
        return {} if not isinstance(name, str) else {"arn": place.arn("rds", f"db:{name}")}

    def reach(self, place: Place) -> Mapping[str, Sequence[str]]:
        """Passwords kept by AWS, and the role that RDS makes for itself at its first use."""
        role = "role/aws-service-role/rds.amazonaws.com/*"
        secrets = [place.arn("secretsmanager", "secret:rds!*")] if self.manage_master_user_password else []
        return {
            "iam:CreateServiceLinkedRole": [place.arn("iam", role, regional=False)],
            "secretsmanager:CreateSecret": secrets,
            "secretsmanager:TagResource": secrets,
            "kms:DescribeKey": ["*"] if self.manage_master_user_password or self.kms_key_id else [],
        }

    def price(self) -> float | None:
        """By class and storage; None for classes that are not in the table."""
        return hourly(self.db_instance_class, self.allocated_storage, self.storage_type, self.multi_az)

    def as_commands(self, action: str, id: str | None, changed: frozenset[str] = frozenset()) -> list[str]:
        """`aws rds create-db-instance`, `modify-db-instance`, and a wait."""
        if action == "delete":
            final = self._beside.there.get("final_db_snapshot_identifier")
            keep = f"--final-db-snapshot-identifier {word(final)}" if final else "--skip-final-snapshot"
            return [f"aws rds delete-db-instance --db-instance-identifier {word(id)} {keep}"]
        whose = {"db_instance_identifier": self.db_instance_identifier}
        wait = aws("wait db-instance-available", service="rds", **whose)
        settings = {
            name: getattr(self, name)
            for name in _SETTINGS
            if name in (self.model_fields_set if action == "create" else changed)
        }
        if action == "create":
            given_: dict[str, Any] = {
                "engine": self.engine,
                "master_username": self.master_username,
                "db_name": self.db_name,
                "manage_master_user_password": self.manage_master_user_password,
                "storage_encrypted": self.storage_encrypted,
                "db_subnet_group_name": self.db_subnet_group_name,
            }
            command = aws("create-db-instance", service="rds", **whose, **given_, **settings)
        else:
            command = aws("modify-db-instance", service="rds", **whose, **settings, apply_immediately=True)
        if self.master_user_password is not None and (
            action == "create" or "master_user_password" in changed
        ):
            command += ' --master-user-password "$PASSWORD"'
        asked = aws("describe-db-instances", service="rds", **whose)
        one = "DBInstances[0]"
        queries = {
            "arn": f"{one}.DBInstanceArn",
            "endpoint_address": f"{one}.Endpoint.Address",
            "endpoint_port": f"{one}.Endpoint.Port",
            "master_user_secret_arn": f"{one}.MasterUserSecret.SecretArn",
        }
        return [command, wait, *told(self, asked, queries)]


def _until_available(world: World, id: str, *, at_once: bool = True) -> None:
    def available() -> bool | None:
        answer = quietly(world, "rds", "describe_db_instances", DBInstanceIdentifier=id)
        [one] = (answer or {}).get("DBInstances") or [{}]
        state = one.get("DBInstanceStatus")
        if state in ("failed", "incompatible-parameters", "incompatible-network", "storage-full"):
            raise StepFailed(f"the database is {state}", "`aws rds describe-events --duration 60` tells more")
        pending = one.get("PendingModifiedValues") if at_once else None
        return True if state == "available" and not pending else None

    timeout = seconds(world, _COMES)
    world.aws.poll(available, what="the database to be available", timeout=timeout, say=world.job.say)
