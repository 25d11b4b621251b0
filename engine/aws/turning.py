"""How one page of a read leads to the next, as botocore's data on each service tells it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Turning:
    """Which parameters of the next request take which values of the last answer."""

    inputs: Sequence[str]
    outputs: Sequence[str]
    """JMESPath expressions, one for each of `inputs`."""
    more: str | None = None
    """JMESPath of what tells that there are more pages; None where a value for the next request does."""

    @classmethod
    def of(cls, session: Any, service: str, operation: str) -> Turning:
        """What botocore tells of an operation (`ListBuckets`); NextToken where it tells nothing."""
        from botocore.exceptions import UnknownServiceError

        loader = session._session.get_component("data_loader")
        try:
            told = loader.load_service_model(service, "paginators-1")["pagination"].get(operation)
        except UnknownServiceError:
            told = None
        if told is None:
            return cls(["NextToken"], ["NextToken"])
        return cls(_several(told["input_token"]), _several(told["output_token"]), told.get("more_results"))

    def onward(self, answer: Mapping[str, Any]) -> dict[str, Any]:
        """Parameters that ask for the page after `answer`; none after the last one."""
        import jmespath

        if self.more is not None and not jmespath.search(self.more, answer):
            return {}
        given = [jmespath.search(expression, answer) for expression in self.outputs]
        return {name: value for name, value in zip(self.inputs, given, strict=True) if value}


def _several(told: str | Sequence[str]) -> Sequence[str]:
    return [told] if isinstance(told, str) else told
