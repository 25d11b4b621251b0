"""Commands by hand that several kinds of IAM have in common."""

from __future__ import annotations

from collections.abc import Set
from typing import Any

from engine.by_hand import aws, json_word, word
from engine.refs import Unknown
from engine.resource import Resource, Values
from engine.resources.iam._iam import InIam, compared


def policies_by_hand(sort: str, bearer: InIam, touched: Set[str], there: Values) -> list[str]:
    """Commands that attach and put policies, and detach those that are not wanted."""
    whose = {f"{sort}_name": bearer.name}
    missing, extra = list_by_hand(bearer, "managed_policies", touched, there)
    lines = [
        aws(f"attach-{sort}-policy", service="iam", **whose, policy_arn=arn_by_hand(item)) for item in missing
    ]
    inline = bearer.wanted(["inline_policies"])["inline_policies"] if "inline_policies" in touched else None
    for key, policy in inline.items() if isinstance(inline, dict) else ():
        put = aws(f"put-{sort}-policy", service="iam", **whose, policy_name=key)
        lines.append(f"{put} --policy-document {json_word(policy)}")
    lines += [aws(f"detach-{sort}-policy", service="iam", **whose, policy_arn=arn) for arn in extra]
    return lines


def boundary_by_hand(sort: str, name: Any, boundary: Any) -> str:
    """The command that puts a permissions boundary, or takes it away."""
    whose = {f"{sort}_name": name}
    if boundary is None:
        return aws(f"delete-{sort}-permissions-boundary", service="iam", **whose)
    put = f"put-{sort}-permissions-boundary"
    return aws(put, service="iam", **whose, permissions_boundary=arn_by_hand(boundary))


def arn_by_hand(item: Any) -> Any:
    """A managed policy as commands name it; a bare name is taken for one of AWS's."""
    if item is None or isinstance(item, Unknown) or item.startswith("arn:"):
        return item
    return f"arn:aws:iam::aws:policy/{item}"


def path_by_hand(path: Any) -> str:
    """A path as a word of the shell, which a quoted ~ would not lead home."""
    if isinstance(path, str) and path.startswith("~/"):
        return "~/" + word(path[2:])
    return word(path)


def list_by_hand(
    resource: Resource, name: str, touched: Set[str], there: Values
) -> tuple[list[str], list[str]]:
    """What commands must add to and take from a list that changes."""
    if name not in touched:
        return [], []
    wanted = resource.wanted([name]).get(name) or []
    if isinstance(wanted, Unknown):
        return [], []
    return compared(wanted, there.get(name) or [])


def delete_by_hand(sort: str, there: Values, id: str | None) -> list[str]:
    """Commands that take everything off a user, group or role, and delete it."""
    whose = f"--{sort}-name {word(id)}"
    lines = []
    if there.get("console_url"):
        lines.append(f"aws iam delete-login-profile {whose}")
    other = "group" if sort == "user" else "user"
    for name in there.get(f"{other}s") or ():
        lines.append(f"aws iam remove-user-from-group {whose} --{other}-name {word(name)}")
    for arn in there.get("managed_policies") or ():
        lines.append(f"aws iam detach-{sort}-policy {whose} --policy-arn {word(arn)}")
    for name in there.get("inline_policies") or ():
        lines.append(f"aws iam delete-{sort}-policy {whose} --policy-name {word(name)}")
    file = there.get("password_file")
    return [*lines, f"aws iam delete-{sort} {whose}", *([f"rm -f {path_by_hand(file)}"] if file else [])]
