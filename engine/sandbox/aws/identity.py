"""IAM as AWS has it: its own managed policies, what stands in the way of a delete, how tags may be written.

moto loads AWS's 1,500 policies all at once or not at all; here each comes in when it is first named, so that
the state stays small.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from moto.core.responses import ActionResult, EmptyResult
from moto.iam.aws_managed_policies import aws_managed_policies_data
from moto.iam.exceptions import DeleteConflictException, ValidationError
from moto.iam.models import AWSManagedPolicy, IAMBackend, ManagedPolicy
from moto.iam.responses import IamResponse

from engine.sandbox.aws.mending import add, replace

_TAG = re.compile(r"[\w\s.:/=+\-@]*")
_OF_AWS = re.compile(r"arn:aws[a-z-]*:iam::aws:policy(/.*)")


@functools.cache
def _catalogue() -> dict[str, dict[str, Any]]:
    """AWS's own policies by path and name."""
    return {
        f"{data.get('Path') or '/'}{name}": {"name": name, **data}
        for name, data in json.loads(aws_managed_policies_data).items()
    }


def _of_aws(backend: IAMBackend, data: dict[str, Any]) -> AWSManagedPolicy:
    return AWSManagedPolicy.from_data(data["name"], backend.account_id, backend.region_name, data)


def _fetch(backend: IAMBackend, arn: str) -> None:
    """Brings in the policy of AWS's that `arn` names, if there is one and it is not there yet."""
    found = _OF_AWS.fullmatch(arn or "")
    if found and arn not in backend.managed_policies and found[1] in _catalogue():
        policy = _of_aws(backend, _catalogue()[found[1]])
        backend.managed_policies[policy.arn] = policy
        backend.aws_managed_policies.append(policy)


def _naming(handle: Callable[..., Any]) -> Callable[..., Any]:
    """A method whose argument `policy_arn`, the first by position, may name a policy of AWS's."""

    @functools.wraps(handle)
    def fetched(backend: IAMBackend, *args: Any, **kwargs: Any) -> Any:
        _fetch(backend, kwargs.get("policy_arn") or (args[0] if args else ""))
        return handle(backend, *args, **kwargs)

    return fetched


def _listing(handle: Callable[..., Any]) -> Callable[..., Any]:
    """ListPolicies, which shows all of AWS's, too."""

    @functools.wraps(handle)
    def listed(backend: IAMBackend, *args: Any, **kwargs: Any) -> Any:
        kept = backend.managed_policies
        everyone = {
            policy.arn: policy for policy in (_of_aws(backend, data) for data in _catalogue().values())
        }
        backend.managed_policies = {**everyone, **kept}
        try:
            return handle(backend, *args, **kwargs)
        finally:
            backend.managed_policies = kept

    return listed


def _refuse(holds: object, what: str) -> None:
    if holds:
        raise DeleteConflictException(f"Cannot delete entity, must {what} first.")


def _delete_user(handle: Callable[..., None]) -> Callable[..., None]:
    def delete(backend: IAMBackend, user_name: str) -> None:
        user = backend.get_user(user_name)
        _refuse(user.access_keys, "delete access keys")
        _refuse(user.password, "delete login profile")
        _refuse(user.mfa_devices, "delete MFA device")
        _refuse(user.ssh_public_keys, "delete SSH public keys")
        _refuse(user.signing_certificates, "delete signing certificates")
        _refuse(backend.get_groups_for_user(user_name), "remove users from group")
        handle(backend, user_name)

    return delete


def _delete_group(handle: Callable[..., None]) -> Callable[..., None]:
    def delete(backend: IAMBackend, group_name: str) -> None:
        group = backend.get_group(group_name)
        _refuse(group.users, "remove users from group")
        _refuse(group.managed_policies, "detach all policies")
        _refuse(group.policies, "delete policies")
        handle(backend, group_name)

    return delete


def _delete_policy(handle: Callable[..., None]) -> Callable[..., None]:
    def delete(backend: IAMBackend, policy_arn: str) -> None:
        policy = backend.get_policy(policy_arn)
        if policy.attachment_count:
            raise DeleteConflictException("Cannot delete a policy attached to entities.")
        if len(policy.versions) > 1:
            raise DeleteConflictException(
                "This policy has more than one version. Before you delete a policy, you must delete the "
                "policy's versions. The default version is deleted with the policy."
            )
        handle(backend, policy_arn)

    return delete


def _tags(handle: Callable[..., Any]) -> Callable[..., Any]:
    """Tags as IAM takes them: letters, digits, spaces and `_.:/=+-@`."""

    def verified(backend: IAMBackend, tags: list[dict[str, str]]) -> Any:
        for at, tag in enumerate(tags, start=1):
            for key in ("Key", "Value"):
                if not _TAG.fullmatch(tag[key]):
                    raise ValidationError(
                        f"1 validation error detected: Value '{tag[key]}' at "
                        f"'tags.{at}.member.{key.lower()}' failed to satisfy constraint: Member must satisfy "
                        "regular expression pattern: "
                        r"[\p{L}\p{Z}\p{N}_.:/=+\-@]*"
                    )
        return handle(backend, tags)

    return verified


def _tag_user(handle: Callable[..., None]) -> Callable[..., None]:
    def tag(backend: IAMBackend, name: str, tags: list[dict[str, str]]) -> None:
        backend._tag_verification(tags)
        handle(backend, name, tags)

    return tag


def _described(policy: ManagedPolicy) -> dict[str, Any]:
    """A ManagedPolicyDetail, of which moto tells half."""
    return {
        "PolicyName": policy.name,
        "PolicyId": policy.id,
        "Arn": policy.arn,
        "Path": policy.path,
        "DefaultVersionId": policy.default_version_id,
        "AttachmentCount": policy.attachment_count,
        "PermissionsBoundaryUsageCount": 0,
        "IsAttachable": True,
        "Description": policy.description or None,
        "CreateDate": policy.create_date,
        "UpdateDate": policy.update_date,
        "PolicyVersionList": [
            {
                "Document": quote(version.document),
                "VersionId": version.version_id,
                "IsDefaultVersion": version.is_default,
                "CreateDate": version.create_date,
            }
            for version in policy.versions
        ],
    }


def _details(handle: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """GetAccountAuthorizationDetails, with all that is told of managed policies."""

    def details(backend: IAMBackend, policy_filter: list[str]) -> dict[str, Any]:
        found = handle(backend, policy_filter)
        return {**found, "managed_policies": [_described(policy) for policy in found["managed_policies"]]}

    return details


def _no_passwords(response: IamResponse) -> ActionResult:
    """ListServiceSpecificCredentials, of which there are none here."""
    user = response._get_param("UserName")
    if user:
        response.backend.get_user(user)
    return ActionResult({"ServiceSpecificCredentials": []})


def _create_login(handle: Callable[..., Any]) -> Callable[..., Any]:
    """CreateLoginProfile with PasswordResetRequired, which moto forgets."""

    def create(response: IamResponse) -> ActionResult:
        handle(response)
        user = response.backend.get_user(response._get_param("UserName"))
        user.password_reset_required = _true(response._get_param("PasswordResetRequired"))
        answer: ActionResult = response.get_login_profile()
        return answer

    return create


def _create_user(handle: Callable[..., Any]) -> Callable[..., Any]:
    """CreateUser with a permissions boundary, which moto has for roles only."""

    def create(response: IamResponse) -> Any:
        boundary = response._get_param("PermissionsBoundary")
        if boundary:
            _fetch(response.backend, boundary)
            response.backend.get_policy(boundary)
        answer = handle(response)
        _bound(response, boundary)
        return answer

    return create


def _put_boundary(response: IamResponse) -> ActionResult:
    """PutUserPermissionsBoundary."""
    arn = response._get_param("PermissionsBoundary")
    _fetch(response.backend, arn)
    response.backend.get_policy(arn)
    _bound(response, arn)
    return EmptyResult()


def _delete_boundary(response: IamResponse) -> ActionResult:
    """DeleteUserPermissionsBoundary."""
    _bound(response, None)
    return EmptyResult()


def _bound(response: IamResponse, arn: str | None) -> None:
    user: Any = response.backend.get_user(response._get_param("UserName"))
    sort = "PermissionsBoundaryPolicy"
    user.permissions_boundary = (
        {"PermissionsBoundaryType": sort, "PermissionsBoundaryArn": arn} if arn else None
    )


def _update_user(handle: Callable[..., None]) -> Callable[..., None]:
    """UpdateUser, at which moto loses the tags with the old ARN."""

    def update(backend: IAMBackend, user_name: str, new_path: Any = None, new_user_name: Any = None) -> None:
        user = backend.get_user(user_name)
        tags = backend.tagger.list_tags_for_resource(user.arn)["Tags"]
        backend.tagger.delete_all_tags_for_resource(user.arn)
        handle(backend, user_name, new_path, new_user_name)
        backend.tagger.tag_resource(user.arn, tags)

    return update


def _true(given: Any) -> bool:
    return str(given).lower() == "true"


def mend() -> None:
    """Puts IAM right."""
    named = (
        "get_policy get_policy_version list_policy_versions attach_role_policy attach_group_policy "
        "attach_user_policy detach_role_policy detach_group_policy detach_user_policy "
        "create_policy_version delete_policy_version list_policy_tags"
    )
    replace(IAMBackend, **{name: _naming(getattr(IAMBackend, name)) for name in named.split()})
    replace(
        IAMBackend,
        list_policies=_listing(IAMBackend.list_policies),
        update_user=_update_user(IAMBackend.update_user),
        delete_user=_delete_user(IAMBackend.delete_user),
        delete_group=_delete_group(IAMBackend.delete_group),
        delete_policy=_delete_policy(IAMBackend.delete_policy),
        _tag_verification=_tags(IAMBackend._tag_verification),
        tag_user=_tag_user(IAMBackend.tag_user),
        get_account_authorization_details=_details(IAMBackend.get_account_authorization_details),
    )
    replace(
        IamResponse,
        create_login_profile=_create_login(IamResponse.create_login_profile),
        create_user=_create_user(IamResponse.create_user),
    )
    add(
        IamResponse,
        list_service_specific_credentials=_no_passwords,
        put_user_permissions_boundary=_put_boundary,
        delete_user_permissions_boundary=_delete_boundary,
    )
