"""An example of each kind about names, and of who did what."""

from __future__ import annotations

from engine.resource import Resource
from engine.resources.aws.cloudtrail import Cloudtrail
from engine.resources.aws.route53_records import Route53Record
from engine.resources.aws.route53_zones import Route53Zone
from engine.resources.ec2.network import Ec2VpcNet
from engine.resources.s3.buckets import S3Bucket
from tests.kinds.aws_examples import Example
from tests.kinds.aws_stage import Stage


def zone(stage: Stage) -> tuple[Resource, Resource | None]:
    one = stage.make(Ec2VpcNet(cidr_block="10.9.0.0/16"), "vpc")["id"]
    two = stage.make(Ec2VpcNet(cidr_block="10.8.0.0/16"), "other")["id"]
    first = {
        "zone": "Lab.Example.com",
        "comment": "names",
        "vpcs": [{"vpc_id": one, "vpc_region": "us-east-1"}],
    }
    second = {
        "zone": "lab.example.com",
        "comment": "other names",
        "vpcs": [{"vpc_id": two, "vpc_region": "us-east-1"}],
    }
    return Route53Zone.model_validate(first), Route53Zone.model_validate(second)


def record(stage: Stage) -> tuple[Resource, Resource | None]:
    zone = stage.make(Route53Zone(zone="example.org"), "zone")["id"]
    common = {"hosted_zone_id": zone, "record": "www.example.org", "type": "A"}
    first = Route53Record.model_validate({**common, "value": "192.0.2.1", "ttl": 60})
    return first, Route53Record.model_validate({**common, "value": ["192.0.2.2", "192.0.2.3"]})


def trail(stage: Stage) -> tuple[Resource, Resource | None]:
    bucket = stage.make(S3Bucket(name=f"{stage.lab}-trail", force=True), "bucket")["id"]
    first = Cloudtrail(name=f"{stage.lab}-trail", s3_bucket_name=bucket, s3_key_prefix="who")
    second = first.model_copy(
        update={"s3_key_prefix": "did", "is_multi_region_trail": True, "enable_logging": False}
    )
    second.model_fields_set.update({"is_multi_region_trail", "enable_logging"})
    return first, second


EXAMPLES: dict[str, Example] = {"cloudtrail": trail, "route53_record": record, "route53_zone": zone}
