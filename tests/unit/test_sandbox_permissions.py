"""Which operation a request to the sandbox is for, told from the request alone, and what policies allow."""

from __future__ import annotations

import io
import json
from typing import Any
from urllib.parse import urlencode

import botocore.session
import pytest
from botocore.serialize import create_serializer

from engine.sandbox.aws.permissions import Caller, _operation, missing

SESSION = botocore.session.Session()


def filled(shape: Any, depth: int = 0) -> Any:
    """A value for a shape, with what is required and nothing else."""
    if shape.type_name == "structure":
        return {name: filled(shape.members[name], depth + 1) for name in shape.required_members}
    if shape.type_name == "list":
        return [filled(shape.member, depth + 1)]
    if shape.type_name == "map":
        return {}
    simple = {"string": "word", "integer": 1, "long": 1, "boolean": True, "blob": b"x", "timestamp": 0}
    return (shape.enum[0] if getattr(shape, "enum", None) else None) or simple.get(shape.type_name, 1.0)


def environ(service: str, operation: str) -> dict[str, Any]:
    """The WSGI environment of a request, as botocore would send it."""
    model = SESSION.get_service_model(service).operation_model(operation)
    params = filled(model.input_shape) if model.input_shape else {}
    sent = create_serializer(model.service_model.metadata["protocol"]).serialize_to_request(params, model)
    body = sent["body"]
    data = urlencode(body).encode() if isinstance(body, dict) else body or b""
    query = sent["query_string"]
    path, _, more = sent["url_path"].partition("?")
    text = "&".join(filter(None, [more, query if isinstance(query, str) else urlencode(query)]))
    return {
        "REQUEST_METHOD": sent["method"],
        "PATH_INFO": path,
        "QUERY_STRING": text,
        "CONTENT_LENGTH": str(len(data)) if isinstance(data, bytes) else "0",
        "wsgi.input": io.BytesIO(data if isinstance(data, bytes) else b""),
        **{f"HTTP_{name.upper().replace('-', '_')}": value for name, value in sent["headers"].items()},
    }


REQUESTS = [
    ("s3", "s3", "ListBuckets"),
    ("s3", "s3", "CreateBucket"),
    ("s3", "s3", "DeleteBucket"),
    ("s3", "s3", "HeadBucket"),
    ("s3", "s3", "GetBucketPolicy"),
    ("s3", "s3", "PutBucketVersioning"),
    ("s3", "s3", "ListObjectsV2"),
    ("s3", "s3", "ListObjectVersions"),
    ("s3", "s3", "DeleteObjects"),
    ("s3", "s3", "PutPublicAccessBlock"),
    ("s3", "s3", "PutObject"),
    ("s3", "s3", "GetObject"),
    ("s3", "s3", "HeadObject"),
    ("s3", "s3", "DeleteObject"),
    ("s3", "s3", "CreateMultipartUpload"),
    ("s3", "s3", "UploadPart"),
    ("s3", "s3", "CompleteMultipartUpload"),
    ("lambda", "lambda", "CreateFunction"),
    ("lambda", "lambda", "GetFunction"),
    ("lambda", "lambda", "Invoke"),
    ("lambda", "lambda", "UpdateFunctionCode"),
    ("lambda", "lambda", "DeleteFunction"),
    ("route53", "route53", "CreateHostedZone"),
    ("route53", "route53", "GetHostedZone"),
    ("route53", "route53", "ChangeResourceRecordSets"),
    ("route53", "route53", "ListResourceRecordSets"),
    ("efs", "elasticfilesystem", "CreateFileSystem"),
    ("efs", "elasticfilesystem", "DescribeMountTargets"),
    ("efs", "elasticfilesystem", "DeleteFileSystem"),
    ("eks", "eks", "CreateCluster"),
    ("eks", "eks", "DescribeNodegroup"),
    ("apigatewayv2", "apigateway", "CreateApi"),
    ("ec2", "ec2", "RunInstances"),
    ("iam", "iam", "CreateUser"),
    ("dynamodb", "dynamodb", "CreateTable"),
    ("ecs", "ecs", "RunTask"),
]


@pytest.mark.parametrize(("client", "service", "operation"), REQUESTS)
def test_the_operation_is_told_from_the_request(client: str, service: str, operation: str) -> None:
    told = _operation(service, environ(client, operation))
    assert told is not None
    assert told[0] == operation


def caller(*statements: dict[str, Any]) -> Caller:
    return Caller(
        "arn:aws:iam::123456789012:user/ana", "secret", (json.dumps({"Statement": list(statements)}),)
    )


def allowed(*statements: dict[str, Any]) -> bool:
    return missing(caller(*statements), "s3", environ("s3", "GetObject")) is None


def statement(effect: str, action: Any, **more: Any) -> dict[str, Any]:
    return {"Effect": effect, "Action": action, "Resource": "*", **more}


def test_what_a_policy_allows() -> None:
    assert allowed(statement("Allow", "s3:GetObject"))
    assert allowed(statement("Allow", ["ec2:*", "S3:get*"]))
    assert allowed(statement("Allow", "*"))
    assert not allowed(statement("Allow", "s3:PutObject"))
    assert not allowed()
    assert allowed({"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"})
    assert not allowed({"Effect": "Allow", "NotAction": "s3:*", "Resource": "*"})


def test_what_is_denied_for_everything_is_denied() -> None:
    everything = statement("Allow", "*")
    assert not allowed(everything, statement("Deny", "s3:*"))
    assert allowed(everything, statement("Deny", "s3:*", Resource="arn:aws:s3:::other/*"))
    assert allowed(
        everything, statement("Deny", "s3:*", Condition={"Bool": {"aws:SecureTransport": "false"}})
    )


def test_the_missing_action_is_named() -> None:
    assert missing(caller(), "s3", environ("s3", "ListObjectsV2")) == "s3:ListBucket"
    assert missing(caller(), "ec2", environ("ec2", "RunInstances")) == "ec2:RunInstances"
    assert missing(caller(), "sts", environ("sts", "GetCallerIdentity")) is None
