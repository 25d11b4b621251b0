"""Which IAM actions a request needs, as the Service Authorization Reference tells them.

For most services an operation is an action of the same name; here are the others.
"""

from __future__ import annotations

import functools
from typing import Any, Final

FREE: Final = frozenset({"sts:GetCallerIdentity", "sts:GetSessionToken"})
"""Operations that need no permission."""

_SERVICES: Final = {
    "tagging": "tag",
    "cloudcontrolapi": "cloudformation",
    "monitoring": "cloudwatch",
    "mturk-requester": "mechanicalturk",
}
"""Services whose actions begin with something else than what requests are signed for."""

_EXCEPTIONS: Final = {
    "s3:HeadBucket": "s3:ListBucket",
    "s3:ListObjects": "s3:ListBucket",
    "s3:ListObjectsV2": "s3:ListBucket",
    "s3:ListObjectVersions": "s3:ListBucketVersions",
    "s3:ListBuckets": "s3:ListAllMyBuckets",
    "s3:HeadObject": "s3:GetObject",
    "s3:CopyObject": "s3:GetObject s3:PutObject",
    "s3:DeleteObjects": "s3:DeleteObject",
    "s3:CreateMultipartUpload": "s3:PutObject",
    "s3:UploadPart": "s3:PutObject",
    "s3:UploadPartCopy": "s3:GetObject s3:PutObject",
    "s3:CompleteMultipartUpload": "s3:PutObject",
    "s3:ListMultipartUploads": "s3:ListBucketMultipartUploads",
    "s3:ListParts": "s3:ListMultipartUploadParts",
    "s3:GetBucketEncryption": "s3:GetEncryptionConfiguration",
    "s3:PutBucketEncryption": "s3:PutEncryptionConfiguration",
    "s3:DeleteBucketEncryption": "s3:PutEncryptionConfiguration",
    "s3:GetPublicAccessBlock": "s3:GetBucketPublicAccessBlock",
    "s3:PutPublicAccessBlock": "s3:PutBucketPublicAccessBlock",
    "s3:DeletePublicAccessBlock": "s3:PutBucketPublicAccessBlock",
    "s3:GetBucketLifecycle": "s3:GetLifecycleConfiguration",
    "s3:PutBucketLifecycle": "s3:PutLifecycleConfiguration",
    "s3:GetBucketLifecycleConfiguration": "s3:GetLifecycleConfiguration",
    "s3:PutBucketLifecycleConfiguration": "s3:PutLifecycleConfiguration",
    "s3:DeleteBucketLifecycle": "s3:PutLifecycleConfiguration",
    "s3:GetBucketCors": "s3:GetBucketCORS",
    "s3:PutBucketCors": "s3:PutBucketCORS",
    "s3:DeleteBucketCors": "s3:PutBucketCORS",
    "s3:DeleteBucketTagging": "s3:PutBucketTagging",
    "s3:DeleteBucketOwnershipControls": "s3:PutBucketOwnershipControls",
    "s3:GetBucketAccelerateConfiguration": "s3:GetAccelerateConfiguration",
    "s3:PutBucketAccelerateConfiguration": "s3:PutAccelerateConfiguration",
    "s3:GetObjectLockConfiguration": "s3:GetBucketObjectLockConfiguration",
    "s3:PutObjectLockConfiguration": "s3:PutBucketObjectLockConfiguration",
    "s3:GetBucketNotificationConfiguration": "s3:GetBucketNotification",
    "s3:PutBucketNotificationConfiguration": "s3:PutBucketNotification",
    "s3:GetBucketReplication": "s3:GetReplicationConfiguration",
    "s3:PutBucketReplication": "s3:PutReplicationConfiguration",
    "s3:DeleteBucketReplication": "s3:PutReplicationConfiguration",
    "lambda:Invoke": "lambda:InvokeFunction",
    "sqs:SendMessageBatch": "sqs:SendMessage",
    "sqs:DeleteMessageBatch": "sqs:DeleteMessage",
    "sqs:ChangeMessageVisibilityBatch": "sqs:ChangeMessageVisibility",
    "sns:PublishBatch": "sns:Publish",
    "budgets:TagResource": "budgets:TagResource",
    "budgets:UntagResource": "budgets:UntagResource",
    "budgets:ListTagsForResource": "budgets:ListTagsForResource",
}
_SAFE: Final = ("Describe", "List", "Get")


def actions_of(service: str, operation: str, method: str = "POST") -> frozenset[str]:
    """The actions for a request signed for `service` (`elasticloadbalancing`); none where none is needed.

    `method` is the operation's HTTP method, by which API Gateway names its actions.
    """
    name = f"{_SERVICES.get(service, service)}:{operation}"
    if name in FREE:
        return frozenset()
    if name in _EXCEPTIONS:
        return frozenset(_EXCEPTIONS[name].split())
    if service == "budgets":
        return frozenset({"budgets:ViewBudget" if operation.startswith(_SAFE) else "budgets:ModifyBudget"})
    if service == "apigateway":
        return frozenset({f"apigateway:{method}"})
    return frozenset({name})


def actions_of_method(service: str, method: str) -> frozenset[str]:
    """The actions for a request as boto3 names its client and its method (`s3`, `head_object`).

    None where boto3 knows no such client or method.
    """
    model = _models(service).get(method)
    return frozenset() if model is None else actions_of(*model)


@functools.cache
def _models(service: str) -> dict[str, tuple[str, str, str]]:
    """By boto3's name for each method of a client: whom it is signed for, the operation, its HTTP method."""
    import botocore.session
    from botocore import xform_name
    from botocore.exceptions import UnknownServiceError

    try:
        model: Any = botocore.session.Session().get_service_model(service)
    except UnknownServiceError:
        return {}
    return {
        xform_name(name): (model.signing_name, name, model.operation_model(name).http["method"])
        for name in model.operation_names
    }
