"""A few small kinds, named and shaped like the real ones, that the language is tested with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator

from engine.local_files import LocalFile, LocalFolder, TemplateFile
from engine.on_host import OnHost
from engine.resource import Fields, Fixed, Id, Output, Resource, Secret
from engine.resources.hosts.ssh_host import SshHost


class Vpc(Resource):
    kind: ClassVar[str] = "ec2_vpc_net"
    outputs: ClassVar[Mapping[str, Output]] = {"id": Output("its id")}

    default: bool = False
    cidr_block: Fixed[str | None] = None


class Rule(Fields):
    proto: Literal["tcp", "udp", "icmp", "all"] = "tcp"
    ports: int | str | list[int | str] | None = None
    cidr_ip: str | None = None
    group_id: Id | None = None


class SecurityGroup(Resource):
    kind: ClassVar[str] = "ec2_security_group"
    outputs: ClassVar[Mapping[str, Output]] = {"id": Output("its id"), "owner_id": Output("the account")}

    group_name: Fixed[str]
    description: Fixed[str] = Field(default="", description="what it is for")
    vpc_id: Fixed[Id] = Field(description="the VPC it belongs to")
    rules: list[Rule] = []

    @field_validator("group_name")
    @classmethod
    def _not_reserved(cls, value: str) -> str:
        if value.startswith("sg-"):
            raise ValueError("cannot begin with `sg-`: AWS keeps that for ids")
        return value


class Key(Resource):
    kind: ClassVar[str] = "ec2_key"
    outputs: ClassVar[Mapping[str, Output]] = {"id": Output("its id")}

    key_name: Fixed[str]
    private_key_file: Fixed[str | None] = None


class Instance(Resource):
    kind: ClassVar[str] = "ec2_instance"
    is_host: ClassVar[bool] = True
    outputs: ClassVar[Mapping[str, Output]] = {
        "id": Output("its id"),
        "public_ip": Output("its public address"),
        "private_ip": Output("its private address"),
    }

    image: Fixed[str]
    instance_type: str = "t3.micro"
    key_name: Fixed[str | None] = None
    security_groups: list[Id] = []
    volume_size: Annotated[int, Field(ge=1, le=16384)] | None = None
    user_data: Secret[str | None] = None


class Address(Resource):
    kind: ClassVar[str] = "ec2_eip"
    outputs: ClassVar[Mapping[str, Output]] = {"id": Output("its id"), "public_ip": Output("the address")}

    instance_id: Id | None = None


class Page(OnHost):
    kind: ClassVar[str] = "template"

    src: TemplateFile
    dest: Fixed[str]
    mode: str | None = None

    def natural_id(self) -> str:
        return self.dest


class Copy(OnHost):
    kind: ClassVar[str] = "copy"

    src: LocalFile | None = None
    content: str | None = None
    dest: Fixed[str]

    def natural_id(self) -> str:
        return self.dest


class Image(OnHost):
    kind: ClassVar[str] = "docker_image"

    name: Fixed[str]
    build: LocalFolder | None = None

    def natural_id(self) -> str:
        return self.name


class Container(OnHost):
    kind: ClassVar[str] = "docker_container"
    outputs: ClassVar[Mapping[str, Output]] = {"id": Output("its id")}

    name: Fixed[str]
    image: str
    env: dict[str, str] = {}
    published_ports: list[str] = []
    restart_policy: Literal["no", "always", "on-failure", "unless-stopped"] = "no"

    def natural_id(self) -> str:
        return self.name


class Command(OnHost):
    kind: ClassVar[str] = "command"
    outputs: ClassVar[Mapping[str, Output]] = {
        "stdout": Output("what it printed"),
        "token": Output("a secret it tells", sensitive=True),
    }

    cmd: str
    changed_when: bool = True

    def natural_id(self) -> str:
        return "command"


KINDS: dict[str, type[Resource]] = {
    kind.kind: kind
    for kind in (Vpc, SecurityGroup, Key, Instance, Address, Page, Copy, Image, Container, Command, SshHost)
}
