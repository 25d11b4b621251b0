"""What a verb is told about the resource it acts on, and whose a thing on a host is."""

from __future__ import annotations

from engine.lab import Lab
from engine.on_host import OnHost
from engine.resource import Resource, Values
from engine.tags import wanted_tags
from engine.world import Job


def job_of(lab: Lab, address: str, *, token: str = "", foreseen: str = "", host: str | None = None) -> Job:
    """The job for the resource at `address`: its tags above all; `host` where the playbook does not tell."""
    declared = lab.resources.get(address)
    return Job(
        address=address,
        token=token,
        foreseen=foreseen,
        tags=wanted_tags(lab, address),
        timeout=declared.timeout if declared else None,
        host=host or (declared.host if declared else None),
        quiet=declared.no_log if declared else False,
    )


def adopting(kind: type[Resource]) -> bool:
    """Whether resources of `kind` may ask to take on a thing that labctl did not make."""
    return kind.adopts is not Resource.adopts and not issubclass(kind, OnHost)


def owner_of(kind: type[OnHost], values: Values) -> str | None:
    """The lab that made the thing read, None where nobody says so; a kind's own field `owner` is no lab."""
    owner = None if "owner" in kind.model_fields else values.get("owner")
    return str(owner) if owner else None


def belongs(kind: type[OnHost], values: Values | None, lab: str, *, new: bool) -> bool:
    """Whether the thing read is the lab's, or (if `new`) one that the lab may take on."""
    if values is None:
        return False
    owner = owner_of(kind, values)
    return owner == lab or (not owner and (kind.adoptable or not new))
