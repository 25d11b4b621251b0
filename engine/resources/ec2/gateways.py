"""The ways in and out of a VPC: internet gateways, NAT gateways and Elastic IPs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import field_validator, model_validator

from engine.aws.errors import AwsError
from engine.aws.tags import seen_tags, tag_specifications
from engine.by_hand import assign, aws, itself, told, word
from engine.errors import StepFailed
from engine.resource import Fixed, Id, Output, Values
from engine.resources.aws import _prices
from engine.resources.aws._aws import finish, iam_actions, seconds
from engine.resources.ec2._ec2 import InEc2, described, found, make, once_seen, quietly, remove

if TYPE_CHECKING:
    from engine.world import World

_LIVE_NAT = ("pending", "available")


class Ec2VpcIgw(InEc2):
    """An internet gateway: the way between a VPC and the internet."""

    kind: ClassVar[str] = "ec2_vpc_igw"
    actions: ClassVar[Sequence[str]] = iam_actions(
        "ec2",
        """
        AttachInternetGateway CreateInternetGateway CreateTags DeleteInternetGateway DeleteTags
        DescribeInternetGateways DetachInternetGateway
        """,
    )
    outputs: ClassVar[Mapping[str, Output]] = {
        "id": Output("the gateway's id, igw-…"),
        "gateway_id": Output("the same as id"),
    }

    vpc_id: Id
    """The VPC it is attached to."""

    def create(self, world: World) -> str:
        """CreateInternetGateway, then AttachInternetGateway."""
        answer = make(
            world, "create_internet_gateway", TagSpecifications=tag_specifications(world, "internet-gateway")
        )
        id = str(answer["InternetGateway"]["InternetGatewayId"])
        finish(world, id, lambda: self._attach(world, id))
        return id

    def _attach(self, world: World, id: str) -> None:
        try:
            once_seen(world, "attach_internet_gateway", InternetGatewayId=id, VpcId=self.vpc_id)
        except AwsError as error:
            # A first answer that was lost may have attached it.
            if error.code != "Resource.AlreadyAssociated" or self.vpc_id not in _attached(world, id):
                raise

    @classmethod
    def read_many(cls, world: World, ids: Sequence[str]) -> dict[str, Values]:
        """DescribeInternetGateways."""
        gateways = described(
            world, "describe_internet_gateways", "InternetGateways", "internet-gateway-id", ids
        )
        result = {}
        for gateway in gateways:
            vpcs = [attachment["VpcId"] for attachment in gateway.get("Attachments", ())]
            id = gateway["InternetGatewayId"]
            result[id] = {
                "id": id,
                "gateway_id": id,
                "vpc_id": vpcs[0] if vpcs else None,
                "tags": seen_tags(gateway),
            }
        return result

    def update(self, world: World, id: str, changed: frozenset[str]) -> None:
        """Detached from another VPC, attached to the one asked for."""
        for vpc in _attached(world, id):
            if vpc != self.vpc_id:
                remove(world, "detach_internet_gateway", InternetGatewayId=id, VpcId=vpc)
        self._attach(world, id)

    @classmethod
    def delete(cls, world: World, id: str) -> None:
        """DetachInternetGateway (refused while public addresses are in use), then DeleteInternetGateway."""
        for vpc in _attached(world, id):
            try:
                remove(world, "detach_internet_gateway", InternetGatewayId=id, VpcId=vpc)
            except AwsError as error:
                if error.code != "Gateway.NotAttached":
                    raise
        remove(world, "delete_internet_gateway", InternetGatewayId=id)

    @classmethod
    def find(cls, world: World) -> list[str]:
        """By the tags that CreateInternetGateway was sent with."""
        return found(world, "describe_internet_gateways", "InternetGateways", "InternetGatewayId")

    def as_commands(self, action: str, id: str | None, changed: frozenset[str] = frozenset()) -> list[str]:
        """`aws ec2 create-internet-gateway`, `attach-internet-gateway`, `delete-internet-gateway`."""
        own = word(itself(self, id))
        if action == "delete":
            return [
                *self._detached_by_hand(own),
                f"aws ec2 delete-internet-gateway --internet-gateway-id {own}",
            ]
        lines = [] if action == "create" else self._detached_by_hand(own)
        if action == "create":
            command = aws("create-internet-gateway", query="InternetGateway.InternetGatewayId")
            lines.append(assign(self._address, command))
        lines.append(
            f"aws ec2 attach-internet-gateway --internet-gateway-id {own} --vpc-id {word(self.vpc_id)}"
        )
        asked = f"aws ec2 describe-internet-gateways --internet-gateway-ids {own}"
        return [*lines, *told(self, asked, {"gateway_id": "InternetGateways[0].InternetGatewayId"})]

    def _detached_by_hand(self, own: str) -> list[str]:
        vpc = self._beside.there.get("vpc_id")
        if vpc is None:
            return []
        return [f"aws ec2 detach-internet-gateway --internet-gateway-id {own} --vpc-id {word(vpc)}"]


def _attached(world: World, id: str) -> list[str]:
    gateways = described(world, "describe_internet_gateways", "InternetGateways", "internet-gateway-id", [id])
    return [str(attachment["VpcId"]) for gateway in gateways for attachment in gateway.get("Attachments", ())]


class Ec2VpcNatGateway(InEc2):
    """A NAT gateway: the way out to the internet for subnets without public addresses."""

    kind: ClassVar[str] = "ec2_vpc_nat_gateway"
    actions: ClassVar[Sequence[str]] = iam_actions(
        "ec2",
        """
        CreateNatGateway CreateTags DeleteNatGateway DeleteTags DescribeNatGateways
        """,
    )
    outputs: ClassVar[Mapping[str, Output]] = {
        "id": Output("the gateway's id, nat-…"),
        "nat_gateway_id": Output("the same as id"),
        "public_ip": Output("the address that what goes out comes from"),
        "private_ip": Output("its address in the subnet"),
        "network_interface_id": Output("its network interface"),
    }

    subnet_id: Fixed[Id]
    """The public subnet it stands in."""
    allocation_id: Fixed[Id | None] = None
    """The Elastic IP it uses, as `ec2_eip` gives it."""
    connectivity_type: Fixed[Literal["public", "private"]] = "public"
    """`private`: between networks only, without a public address."""

    @model_validator(mode="after")
    def _has_address(self) -> Self:
        if self.connectivity_type == "public" and self.allocation_id is None:
            raise ValueError('a NAT gateway needs an address: allocation_id: "{{ eip.id }}" of an ec2_eip')
        if self.connectivity_type == "private" and self.allocation_id is not None:
            raise ValueError("a private NAT gateway takes no allocation_id")
        return self

    def create(self, world: World) -> str:
        """CreateNatGateway; returns once it is available."""
        answer = make(
            world,
            "create_nat_gateway",
            SubnetId=self.subnet_id,
            AllocationId=self.allocation_id,
            ConnectivityType=self.connectivity_type,
            ClientToken=world.job.token or None,
            TagSpecifications=tag_specifications(world, "natgateway"),
        )
        id = str(answer["NatGateway"]["NatGatewayId"])
        finish(world, id, lambda: self._wait(world, id))
        return id

    @staticmethod
    def _wait(world: World, id: str) -> None:
        def ready() -> bool | None:
            for gateway in described(world, "describe_nat_gateways", "NatGateways", "nat-gateway-id", [id]):
                if gateway["State"] == "available":
                    return True
                if gateway["State"] in {"failed", "deleting", "deleted"}:
                    said = gateway.get("FailureMessage") or f"it is {gateway['State']}"
                    raise StepFailed(
                        f"the NAT gateway could not be made: {said}",
                        "its subnet must be in a VPC with an internet gateway, and its address free",
                    )
            return None

        world.aws.poll(
            ready,
            what=f"NAT gateway {id} to become available",
            timeout=seconds(world, 600),
            say=world.job.say,
        )

    @classmethod
    def read_many(cls, world: World, ids: Sequence[str]) -> dict[str, Values]:
        """DescribeNatGateways; failed and deleted ones are gone."""
        result = {}
        for gateway in described(world, "describe_nat_gateways", "NatGateways", "nat-gateway-id", ids):
            if gateway["State"] in _LIVE_NAT:
                addresses = gateway.get("NatGatewayAddresses") or [{}]
                result[gateway["NatGatewayId"]] = {
                    "id": gateway["NatGatewayId"],
                    "nat_gateway_id": gateway["NatGatewayId"],
                    "subnet_id": gateway["SubnetId"],
                    "allocation_id": addresses[0].get("AllocationId"),
                    "connectivity_type": gateway.get("ConnectivityType", "public"),
                    "public_ip": addresses[0].get("PublicIp"),
                    "private_ip": addresses[0].get("PrivateIp"),
                    "network_interface_id": addresses[0].get("NetworkInterfaceId"),
                    "tags": seen_tags(gateway),
                }
        return result

    def update(self, world: World, id: str, changed: frozenset[str]) -> None:
        """Nothing of a NAT gateway changes in place; waits where a create was cut short."""
        self._wait(world, id)

    @classmethod
    def delete(cls, world: World, id: str) -> None:
        """DeleteNatGateway; waits until it is deleted, because only then its address and subnet are free."""
        quietly(world, "delete_nat_gateway", NatGatewayId=id)

        def gone() -> bool | None:
            gateways = described(world, "describe_nat_gateways", "NatGateways", "nat-gateway-id", [id])
            return True if all(gateway["State"] in {"deleted", "failed"} for gateway in gateways) else None

        what = f"NAT gateway {id} to be deleted"
        world.aws.poll(gone, what=what, timeout=seconds(world, 600), say=world.job.say)

    @classmethod
    def find(cls, world: World) -> list[str]:
        """By the tags that CreateNatGateway was sent with, while it lives."""
        live = {"Name": "state", "Values": list(_LIVE_NAT)}
        return found(world, "describe_nat_gateways", "NatGateways", "NatGatewayId", live)

    def as_commands(self, action: str, id: str | None, changed: frozenset[str] = frozenset()) -> list[str]:
        """`aws ec2 create-nat-gateway` and its waiter."""
        own = word(itself(self, id))
        if action == "delete":
            return [
                f"aws ec2 delete-nat-gateway --nat-gateway-id {own}",
                f"aws ec2 wait nat-gateway-deleted --nat-gateway-ids {own}",
            ]
        command = aws(
            "create-nat-gateway",
            query="NatGateway.NatGatewayId",
            subnet_id=self.subnet_id,
            allocation_id=self.allocation_id,
            connectivity_type=None if self.connectivity_type == "public" else self.connectivity_type,
        )
        wait = f"aws ec2 wait nat-gateway-available --nat-gateway-ids {own}"
        made = [assign(self._address, command)] if action == "create" else []
        address = "NatGateways[0].NatGatewayAddresses[0]"
        queries = {
            "nat_gateway_id": "NatGateways[0].NatGatewayId",
            "public_ip": f"{address}.PublicIp",
            "private_ip": f"{address}.PrivateIp",
            "network_interface_id": f"{address}.NetworkInterfaceId",
        }
        return [*made, wait, *told(self, f"aws ec2 describe-nat-gateways --nat-gateway-ids {own}", queries)]

    def price(self) -> float | None:
        """Per hour, besides what is paid per GB."""
        return _prices.NAT_GATEWAY


class Ec2Eip(InEc2):
    """An Elastic IP: a public address that stays the same."""

    kind: ClassVar[str] = "ec2_eip"
    actions: ClassVar[Sequence[str]] = iam_actions(
        "ec2",
        """
        AllocateAddress AssociateAddress CreateTags DeleteTags DescribeAddresses DisassociateAddress
        ReleaseAddress
        """,
    )
    outputs: ClassVar[Mapping[str, Output]] = {
        "id": Output("the allocation's id, eipalloc-…"),
        "allocation_id": Output("the same as id"),
        "public_ip": Output("the address"),
        "association_id": Output("the association with the instance, if there is one"),
    }

    device_id: Id | None = None
    """The instance that has it. Left out, the association is left alone (it may be a NAT gateway's)."""

    @field_validator("device_id")
    @classmethod
    def _instance(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith("i-"):
            raise ValueError(f'{value!r} is no instance: write device_id: "{{{{ bastion.id }}}}"')
        return value

    def create(self, world: World) -> str:
        """AllocateAddress, then AssociateAddress where there is an instance."""
        answer = make(
            world,
            "allocate_address",
            Domain="vpc",
            TagSpecifications=tag_specifications(world, "elastic-ip"),
        )
        id = str(answer["AllocationId"])
        if self.device_id is not None:
            finish(world, id, lambda: self._associate(world, id))
        return id

    def _associate(self, world: World, id: str) -> None:
        # Moves the address where it is associated elsewhere; sent twice it does no harm.
        once_seen(world, "associate_address", AllocationId=id, InstanceId=self.device_id)

    @classmethod
    def read_many(cls, world: World, ids: Sequence[str]) -> dict[str, Values]:
        """DescribeAddresses."""
        result = {}
        for address in described(world, "describe_addresses", "Addresses", "allocation-id", ids):
            result[address["AllocationId"]] = {
                "id": address["AllocationId"],
                "allocation_id": address["AllocationId"],
                "public_ip": address["PublicIp"],
                "device_id": address.get("InstanceId") or None,
                "association_id": address.get("AssociationId"),
                "tags": seen_tags(address),
            }
        return result

    def update(self, world: World, id: str, changed: frozenset[str]) -> None:
        """AssociateAddress or DisassociateAddress."""
        if self.device_id is not None:
            self._associate(world, id)
        else:
            _set_free(world, id)

    @classmethod
    def delete(cls, world: World, id: str) -> None:
        """DisassociateAddress where it is in use by an instance, then ReleaseAddress."""
        _set_free(world, id)
        remove(world, "release_address", AllocationId=id)

    @classmethod
    def find(cls, world: World) -> list[str]:
        """By the tags that AllocateAddress was sent with."""
        return found(world, "describe_addresses", "Addresses", "AllocationId")

    def as_commands(self, action: str, id: str | None, changed: frozenset[str] = frozenset()) -> list[str]:
        """`aws ec2 allocate-address`, `associate-address`, `release-address`."""
        own = word(itself(self, id))
        if action == "delete":
            release = f"aws ec2 release-address --allocation-id {own}"
            return [*self._freed_by_hand(), release] if self._beside.there.get("device_id") else [release]
        lines = []
        if action == "create":
            command = aws("allocate-address", query="AllocationId", domain="vpc")
            lines.append(assign(self._address, command))
        if self.device_id is not None:
            given = word(self.device_id)
            lines.append(f"aws ec2 associate-address --allocation-id {own} --instance-id {given}")
        elif action == "update":
            lines += self._freed_by_hand()
        queries = {
            "allocation_id": "AllocationId",
            "public_ip": "PublicIp",
            "association_id": "AssociationId",
        }
        asked = f"aws ec2 describe-addresses --allocation-ids {own}"
        return [
            *lines,
            *told(self, asked, {name: f"Addresses[0].{query}" for name, query in queries.items()}),
        ]

    def _freed_by_hand(self) -> list[str]:
        association = self._beside.there.get("association_id")
        if association is None:
            return []
        return [f"aws ec2 disassociate-address --association-id {word(association)}"]

    def price(self) -> float | None:
        """Every public address is billed, in use or not."""
        return _prices.PUBLIC_IPV4


def _set_free(world: World, id: str) -> None:
    for address in described(world, "describe_addresses", "Addresses", "allocation-id", [id]):
        if address.get("AssociationId") and address.get("InstanceId"):
            quietly(world, "disassociate_address", AssociationId=address["AssociationId"])
