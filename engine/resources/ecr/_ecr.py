"""What the kinds of ECR share: requests, and repositories by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from engine.resources.aws._aws import unless_gone

if TYPE_CHECKING:
    from engine.world import World


def ask(world: World, operation: str, **params: Any) -> dict[str, Any]:
    """A request to ECR: all of them may be sent twice, what they are about is known by its name."""
    return world.aws.call("ecr", operation, retry=True, **params)


def quietly(world: World, operation: str, **params: Any) -> None:
    """The same; that the thing is not there is fine."""
    or_nothing(world, operation, **params)


def or_nothing(world: World, operation: str, **params: Any) -> dict[str, Any]:
    """The same; nothing where the thing is not there."""
    return unless_gone(lambda: ask(world, operation, **params)) or {}


def repositories(world: World, names: Sequence[str]) -> list[dict[str, Any]]:
    """The repositories of these names that are there: asked by name, a missing one would fail them all."""
    if not names:
        return []
    every = world.aws.pages("ecr", "describe_repositories", "repositories")
    return [repository for repository in every if repository["repositoryName"] in names]
