"""Client tokens: the same create sent twice makes one thing, as on AWS.

moto takes the token and makes another. Codes as in the EC2 API reference, "Ensuring idempotency".
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from moto.ec2.exceptions import EC2ClientError

Answer = tuple[int, dict[str, str], Any]

ACTIONS = frozenset(
    {
        "RunInstances",
        "CreateVolume",
        "CreateNatGateway",
        "CreateFlowLogs",
        "CreateLaunchTemplate",
        "CreateNetworkInterface",
        "CreateRouteTable",
        "CreateVpcEndpoint",
        "CopyImage",
        "AllocateHosts",
    }
)


class Tokens:
    """The answers given so far to creates with a token; kept with the rest of the cloud's state."""

    def __init__(self) -> None:
        self._answers: dict[tuple[str, str, str], tuple[str, Answer, list[str]]] = {}

    def once(
        self, region: str, action: str, params: Mapping[str, Any], backend: Any, do: Callable[[], Answer]
    ) -> Answer:
        """What `do` answers, or answered to the same token before.

        Raises IdempotentParameterMismatch where the request differs, IdempotentInstanceTerminated
        where the instance it made is gone.
        """
        token = params.get("ClientToken")
        if action not in ACTIONS or not token:
            return do()
        key = (region, action, str(token))
        asked = json.dumps(params, sort_keys=True, default=str)
        if key not in self._answers:
            before = set(backend.reservations)
            answer = do()
            if answer[0] == 200:
                made = [one for one in backend.reservations if one not in before]
                self._answers[key] = (asked, answer, made)
            return answer
        then, answer, made = self._answers[key]
        if then != asked:
            raise EC2ClientError(
                "IdempotentParameterMismatch",
                "The request uses the same client token as a previous, but non-identical request. "
                "Do not reuse a client token with different requests, unless the requests are identical",
            )
        self._refuse_terminated(backend, made)
        return answer

    def _refuse_terminated(self, backend: Any, reservations: list[str]) -> None:
        for reservation in reservations:
            kept = backend.reservations.get(reservation)
            if kept is None or any(one._state.aim == "terminated" for one in kept.instances):
                raise EC2ClientError(
                    "IdempotentInstanceTerminated",
                    "The request is a duplicate of a request for an instance that is terminated already.",
                )
