"""What every account finds there: machine images, the SSM parameters that name them, a default VPC.

moto's images are old and its default VPC has no way to the internet; AWS's has a gateway and a route.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from moto.ec2.models import EC2Backend
from moto.ec2.models.amis import Ami, AmiBackend
from moto.ec2.models.vpcs import VPC, VPCBackend
from moto.ssm.models import Parameter, ParameterDict

from engine.sandbox.aws.mending import replace
from engine.sandbox.images import SYSTEM_IMAGES, SystemImage, by_id, parameters

ROOT_GIB = 8
_OURS = ("/aws/service/ami-amazon-linux", "/aws/service/canonical", "/aws/service/debian")
"""How the names of parameters begin that the sandbox publishes itself."""


def _load_images(backend: Any) -> None:
    for image in SYSTEM_IMAGES:
        identity = image.id(backend.region_name)
        backend.amis[identity] = Ami(
            backend,
            identity,
            name=image.name,
            description=image.description,
            owner_id=image.owner,
            owner_alias="amazon" if image.os.startswith("amazon") else None,
            public=True,
            virtualization_type="hvm",
            architecture=image.architecture,
            creation_date=datetime.fromisoformat(image.created).astimezone(UTC).replace(tzinfo=None),
            image_location=f"{image.owner}/{image.name}",
            hypervisor="xen",
            root_device_type="ebs",
            root_device_name=image.root_device,
        )


def _mappings(ami: Ami) -> list[dict[str, Any]]:
    return [
        {
            "DeviceName": ami.root_device_name,
            "Ebs": {
                "SnapshotId": ami.ebs_snapshot.id,
                "VolumeSize": ROOT_GIB,
                "DeleteOnTermination": True,
                "VolumeType": "gp3" if "gp3" in (ami.name or "") else "gp2",
            },
        }
    ]


def system_of(backend: Any, image_id: str) -> SystemImage | None:
    """The system that an image holds, also where it was made of an instance (which knows its own)."""
    known = by_id(backend.region_name).get(image_id)
    if known is not None:
        return known
    source = getattr(backend.amis.get(image_id), "instance", None)
    found: SystemImage | None = getattr(source, "launch_system", None)
    return found


def _load_parameters(store: ParameterDict) -> None:
    for name, value in parameters(store.region_name).items():
        if not dict.__contains__(store, name):
            dict.__setitem__(store, name, [_parameter(store, name, value)])


class _Public(Parameter):
    """A parameter that AWS publishes."""

    @classmethod
    def has_cfn_attr(cls, attr: str) -> bool:
        """CloudFormation knows nothing of it."""
        return False

    def is_created(self) -> bool:
        """It has always been there."""
        return True


def _parameter(store: ParameterDict, name: str, value: str) -> Parameter:
    return _Public(
        account_id=store.account_id,
        name=name,
        value=value,
        parameter_type="String",
        description=None,
        allowed_pattern=None,
        keyid=None,
        last_modified_date=datetime.now(UTC).replace(tzinfo=None),
        version=1,
        data_type="aws:ec2:image",
    )


def mend() -> None:
    """Puts our images, parameters and default VPC in place of moto's."""
    create_default_vpc = VPCBackend.create_default_vpc
    load_regions = ParameterDict._check_loading_status

    def default_vpc(backend: EC2Backend) -> VPC:
        vpc = create_default_vpc(backend)
        gateway = backend.create_internet_gateway()
        backend.attach_internet_gateway(gateway.id, vpc.id)
        main = next(
            one for one in backend.route_tables.values() if one.vpc_id == vpc.id and one.main_association_id
        )
        backend.create_route(main.id, "0.0.0.0/0", gateway_id=gateway.id)
        backend.default_vpc = vpc
        return vpc

    def check_loading(store: ParameterDict, key: str) -> None:
        if str(key or "").startswith(_OURS):
            _load_parameters(store)
        else:
            load_regions(store, key)

    replace(AmiBackend, _load_amis=_load_images)
    replace(Ami, block_device_mappings=property(_mappings))
    replace(VPCBackend, create_default_vpc=default_vpc)
    replace(ParameterDict, _check_loading_status=check_loading)
