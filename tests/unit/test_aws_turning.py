"""Pages of reads follow each other as botocore's data on the service says."""

from __future__ import annotations

from typing import Any

import boto3
import pytest

from engine.aws.turning import Turning


@pytest.mark.parametrize(
    ("service", "operation", "answer", "onward"),
    [
        ("ec2", "DescribeVpcs", {"Vpcs": [], "NextToken": "t"}, {"NextToken": "t"}),
        ("ec2", "DescribeVpcs", {"Vpcs": []}, {}),
        ("iam", "ListRoles", {"IsTruncated": True, "Marker": "m"}, {"Marker": "m"}),
        ("iam", "ListRoles", {"IsTruncated": False, "Marker": "m"}, {}),
        ("ecs", "ListTasks", {"nextToken": "t"}, {"nextToken": "t"}),
        ("lambda", "ListFunctions", {"NextMarker": "m"}, {"Marker": "m"}),
        (
            "s3",
            "ListObjectVersions",
            {"IsTruncated": True, "NextKeyMarker": "k", "NextVersionIdMarker": "v"},
            {"KeyMarker": "k", "VersionIdMarker": "v"},
        ),
        ("sts", "GetCallerIdentity", {"NextToken": "t"}, {"NextToken": "t"}),
    ],
)
def test_the_next_page(service: str, operation: str, answer: dict[str, Any], onward: dict[str, str]) -> None:
    assert Turning.of(boto3.Session(region_name="us-east-1"), service, operation).onward(answer) == onward
