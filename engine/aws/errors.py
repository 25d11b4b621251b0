"""What AWS refuses, in words a student can act on. Knows nothing of boto3."""

from __future__ import annotations

import re
from typing import Final

from engine.errors import LabctlError, StepFailed, Unreachable

THROTTLED: Final = frozenset(
    {
        "RequestLimitExceeded",
        "Throttling",
        "ThrottlingException",
        "ThrottledException",
        "RequestThrottled",
        "RequestThrottledException",
        "TooManyRequestsException",
        "SlowDown",
        "EC2ThrottledException",
        "BandwidthLimitExceeded",
        "PriorRequestNotComplete",
    }
)
"""Codes of requests that AWS turned away unread: any request may be sent again."""

FAULTS: Final = frozenset(
    {
        "InternalError",
        "InternalFailure",
        "ServiceUnavailable",
        "Unavailable",
        "RequestTimeout",
        "500",
        "502",
        "503",
        "504",
    }
)
"""Codes of trouble at AWS after which a request may or may not have taken effect."""

_CREDENTIALS: Final = {
    "AuthFailure": "AWS does not accept these credentials",
    "InvalidClientTokenId": "AWS does not know this access key",
    "InvalidAccessKeyId": "AWS does not know this access key",
    "UnrecognizedClientException": "AWS does not know this access key",
    "SignatureDoesNotMatch": "the secret access key does not belong to the access key",
    "IncompleteSignature": "the credentials are damaged",
    "MissingAuthenticationToken": "no credentials reached AWS",
    "ExpiredToken": "the credentials have expired",
    "ExpiredTokenException": "the credentials have expired",
    "TokenRefreshRequired": "the credentials have expired",
    "RequestExpired": "the credentials have expired, or the clock of this machine is wrong",
    "OptInRequired": "this account is not signed up for the service, or the region is not enabled for it",
    "PendingVerification": "AWS is still verifying this account for the region",
    "Blocked": "AWS has blocked this account",
}
_OF_ONE_THING: Final = re.compile(
    r"not authorized for|permission to access the specified|does not belong to", re.IGNORECASE
)
"""EC2 answers AuthFailure, too, for one image, address or group that belongs to somebody else."""
_RENEW: Final = "log in again (`aws sso login`, or new keys with `aws configure`), then run it again"
_CHECK: Final = "check them with `aws sts get-caller-identity`; aws.profile says which are used"

_WORDS: Final[dict[str, tuple[str, str]]] = {
    "InsufficientInstanceCapacity": (
        "AWS has no free machine of this instance type in this availability zone now",
        "run it again later, or choose another instance_type or availability_zone; where it is to be a spot "
        "instance, market: on-demand costs more and is more likely to be had",
    ),
    "InsufficientHostCapacity": (
        "AWS has no free machine of this instance type in this availability zone now",
        "run it again later, or choose another instance_type or availability_zone",
    ),
    "SpotMaxPriceTooLow": (
        "the spot price is above max_price now",
        "raise max_price, leave it out (then the on-demand price is the limit), or use market: on-demand",
    ),
    "MaxSpotInstanceCountExceeded": (
        "the account's limit for spot instances is reached",
        "use market: on-demand, or ask for a higher limit in Service Quotas (EC2, spot)",
    ),
    "VcpuLimitExceeded": (
        "the account's limit of vCPUs for this family of instance types is reached",
        "choose a smaller instance_type, or ask for a higher limit in Service Quotas (EC2)",
    ),
    "InstanceLimitExceeded": (
        "the account's limit of instances is reached",
        "destroy what is no longer needed, or ask for a higher limit in Service Quotas",
    ),
    "AddressLimitExceeded": (
        "the account's limit of Elastic IP addresses in this region is reached (5 unless raised)",
        "release addresses that are no longer needed, or ask for a higher limit in Service Quotas",
    ),
    "VpcLimitExceeded": (
        "the account's limit of VPCs in this region is reached (5 unless raised)",
        "delete VPCs that are no longer needed, or ask for a higher limit in Service Quotas",
    ),
    "NatGatewayLimitExceeded": (
        "the limit of NAT gateways in this availability zone is reached",
        "delete those no longer needed, or ask for a higher limit in Service Quotas",
    ),
    "RulesPerSecurityGroupLimitExceeded": (
        "a security group cannot hold that many rules (60 in each direction unless raised)",
        "join ports into ranges, or spread the rules over several groups",
    ),
    "Unsupported": (
        "this combination is not offered here, often an instance type in this availability zone",
        "choose another instance_type or availability_zone",
    ),
    "InvalidAMIID.NotFound": (
        "this image does not exist in this region",
        "use an alias (ubuntu-22.04), or an image id of this region",
    ),
    "InvalidAMIID.Unavailable": (
        "this image is no longer available",
        "`labctl plan --newer-images` pins a newer one",
    ),
    "InvalidKeyPair.Duplicate": (
        "a key pair of this name is there already, and this lab did not make it",
        "choose another key_name, or delete that key pair if nobody needs it",
    ),
    "InvalidGroup.Duplicate": (
        "a security group of this name is there already in this VPC, and this lab did not make it",
        "choose another group_name, or delete that group if nobody needs it",
    ),
    "InvalidAMIName.Duplicate": (
        "an image of this name is there already in this account",
        "choose another name, or deregister that image",
    ),
    "DefaultVpcAlreadyExists": (
        "the default VPC has been made meanwhile",
        "plan again: the lab will use the one that is there",
    ),
    "InvalidSubnet.Conflict": (
        "the address range overlaps that of another subnet in this VPC",
        "choose another cidr",
    ),
    "InvalidSubnet.Range": (
        "the address range lies outside the VPC's, or is not between /28 and /16",
        "choose a cidr inside the VPC's cidr_block",
    ),
    "InsufficientFreeAddressesInSubnet": (
        "the subnet has no free addresses left",
        "use a larger subnet, or delete what is no longer needed in it",
    ),
    "InvalidIPAddress.InUse": (
        "this private address is taken",
        "choose another private_ip_address, or leave it out",
    ),
    "OperationNotPermitted": (
        "AWS does not permit this on the thing as it is now",
        "if termination protection is on: set termination_protection: false, apply, then destroy",
    ),
    "IdempotentParameterMismatch": (
        "an earlier attempt at this create was sent with other settings",
        "run it again: the next attempt is a new one",
    ),
    "IncorrectModificationState": (
        "the volume is still being changed from last time, or was changed within the last 6 hours",
        "wait until AWS allows the next change of this volume",
    ),
    "VolumeModificationRateExceeded": (
        "the volume was changed within the last 6 hours",
        "wait until AWS allows the next change of this volume",
    ),
    "Resource.AlreadyAssociated": (
        "it is associated with something else already",
        "take that association away first",
    ),
    "BucketAlreadyExists": (
        "a bucket of this name is there already; names of buckets are shared by all accounts of the world",
        "choose another name, one with {{ lab.slug }} in it, say",
    ),
    "BucketAlreadyOwnedByYou": (
        "this account has a bucket of this name already, and this lab did not make it",
        "choose another name, or delete that bucket if nobody needs it",
    ),
    "OperationAborted": (
        "S3 is still busy with an earlier request about this bucket",
        "run it again; the name of a bucket just deleted may take an hour to be free again",
    ),
    "TooManyBuckets": (
        "the account has as many buckets as it may have",
        "delete buckets that nobody needs, or ask for a higher limit in Service Quotas (S3, buckets)",
    ),
    "AccessControlListNotSupported": (
        "ACLs are switched off for this bucket",
        "set object_ownership: BucketOwnerPreferred on the bucket, or say by `policy` who may read",
    ),
    "MalformedPolicy": (
        "S3 does not understand the policy",
        "check its Principal, Action and Resource: resources are arn:aws:s3:::BUCKET and …:::BUCKET/*",
    ),
    "EntityAlreadyExists": (
        "something of this name is there already in the account, and this lab did not make it",
        "choose another name, or delete that one if nobody needs it",
    ),
    "DuplicateRecordException": (
        "a budget of this name is there already, and this lab did not make it",
        "choose another name, or delete that one if nobody needs it",
    ),
    "DBInstanceAlreadyExists": (
        "a database of this identifier is there already, and this lab did not make it",
        "choose another db_instance_identifier, or delete that one if nobody needs it",
    ),
    "TrailAlreadyExistsException": (
        "a trail of this name is there already, and this lab did not make it",
        "choose another name, or delete that one if nobody needs it",
    ),
    "InsufficientS3BucketPolicyException": (
        "the bucket does not let CloudTrail write to it",
        "allow cloudtrail.amazonaws.com s3:GetBucketAcl, and s3:PutObject below AWSLogs/, in its policy",
    ),
    "HostedZoneNotEmpty": (
        "the zone still holds records",
        "delete them first, but for its own NS and SOA",
    ),
    "DeleteConflict": (
        "something still holds on to it",
        "take away what the message names, then run the same command again",
    ),
    "MalformedPolicyDocument": (
        "IAM does not understand this policy",
        "see the actions, resources and principals in it; `aws accessanalyzer validate-policy` tells more",
    ),
    "PasswordPolicyViolation": (
        "the account asks for a better password",
        "`aws iam get-account-password-policy` tells what it asks for",
    ),
    "TooManyLoadBalancers": (
        "the account has as many load balancers in this region as it may have (50 unless raised)",
        "delete those that nobody needs, or ask for a higher limit in Service Quotas",
    ),
    "TooManyTargetGroups": (
        "the account has as many target groups in this region as it may have",
        "delete those that nobody needs, or ask for a higher limit in Service Quotas",
    ),
    "TargetGroupAssociationLimit": (
        "a target group can be used by one load balancer only",
        "make a target group of its own for each load balancer",
    ),
    "InvalidSubnet": (
        "the load balancer cannot stand in one of these subnets: each needs a way to the internet and 8 free "
        "addresses",
        "choose public subnets (their route table leads to an internet gateway) of /27 or larger",
    ),
    "PlatformUnknownException": (
        "Fargate has no such platform version",
        "leave platform_version out, or write LATEST",
    ),
    "UnauthorizedOperation": (
        "these credentials are not allowed to do this",
        "ask the account's administrator for the permission named in the message",
    ),
    "AccessDenied": (
        "these credentials are not allowed to do this",
        "ask the account's administrator for the permission named in the message",
    ),
    "AccessDeniedException": (
        "these credentials are not allowed to do this",
        "ask the account's administrator for the permission named in the message",
    ),
}


class AwsError(StepFailed):
    """AWS refused a request: `operation` (`RunInstances`), its error `code`, and what it means."""

    def __init__(self, operation: str, code: str, said: str) -> None:
        words, remedy = _WORDS.get(code, ("", ""))
        said = said.split(" Encoded authorization failure message:")[0].strip()
        message = f"{words}: {said} ({operation}, {code})" if words else f"{said} ({operation}, {code})"
        super().__init__(message, remedy)
        self.operation = operation
        self.code = code
        self.said = said
        self.no_effect = code not in FAULTS

    @property
    def not_found(self) -> bool:
        """Whether the thing named in the request does not exist (yet, or any more)."""
        return self.code.endswith((".NotFound", "NotFoundException")) or self.code in _GONE


_GONE: Final = frozenset(
    {
        "NatGatewayNotFound",
        "LoadBalancerNotFound",
        "TargetGroupNotFound",
        "ListenerNotFound",
        "RuleNotFound",
        "ParameterNotFound",
        "NoSuchEntity",
        "InvalidAMIID.Unavailable",
        "NotFound",  # SNS
        "ResourceNotFound",
        "AWS.SimpleQueueService.NonExistentQueue",
        "QueueDoesNotExist",
        "FileSystemNotFound",
        "MountTargetNotFound",
        "DBInstanceNotFound",
        "DBInstanceNotFoundFault",
        "NoSuchHostedZone",
        "NoSuchBucket",
        "NoSuchKey",
        "NoSuchVersion",
        "NoSuchUpload",
        "404",  # S3's answer to HeadBucket and HeadObject, which has no body to say more
    }
)


def refusal(operation: str, code: str, said: str) -> LabctlError:
    """The error for what AWS answered: Unreachable where the credentials are the trouble, else AwsError."""
    if code in _CREDENTIALS and not _OF_ONE_THING.search(said):
        remedy = _RENEW if "expired" in _CREDENTIALS[code] else _CHECK
        return Unreachable(f"{_CREDENTIALS[code]}: {said} ({operation}, {code})", remedy)
    return AwsError(operation, code, said)
