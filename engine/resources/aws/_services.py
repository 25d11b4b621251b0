"""What kinds of the smaller services share: asking, and being quiet about what is gone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from engine.aws.tags import readable, told_tags
from engine.resources.aws._aws import insist, set_ones, unless_gone
from engine.resources.aws._tagging import Tagged

if TYPE_CHECKING:
    from engine.world import World


class InService(Tagged):
    """A kind whose service takes few letters in tags, in a form of its own."""

    own_tags: ClassVar[frozenset[str]] = frozenset()
    """Keys of tags in which the kind remembers things of its own."""

    @classmethod
    def shown_tags(cls, given: Any) -> dict[str, str]:
        """The tags that the kind reads, of those that the service gives in whatever form."""
        tags = readable(told_tags(given))
        return {key: text for key, text in tags.items() if key not in cls.own_tags}


def ask(world: World, service: str, operation: str, **params: Any) -> dict[str, Any]:
    """A request that may be sent twice without harm: reads, deletes, settings."""
    return world.aws.call(service, operation, retry=True, **params)


def quietly(world: World, service: str, operation: str, *codes: str, **params: Any) -> dict[str, Any] | None:
    """A request about what may be gone; None where it is, or where the refusal is one of `codes`."""
    return unless_gone(lambda: ask(world, service, operation, **params), *codes)


def settled(
    world: World, service: str, operation: str, *codes: str, timeout: float = 30.0, **params: Any
) -> dict[str, Any]:
    """A harmless request, sent again while the service has not seen what was just made, or by `codes`."""
    return insist(
        world,
        lambda: ask(world, service, operation, **params),
        lambda error: error.not_found or error.code in codes,
        what="AWS to see what was just made",
        timeout=timeout,
    )


def given(**params: Any) -> dict[str, Any]:
    """The parameters that are not None."""
    return set_ones(params)
