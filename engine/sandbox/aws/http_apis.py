"""API Gateway's HTTP APIs, which answer in the sandbox's network over http: no certificate is good there."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import moto.backends
from moto.apigatewayv2.models import Api as MotoApi

from engine.sandbox.aws.mending import replace
from engine.sandbox.workloads.http_api import Api

if TYPE_CHECKING:
    from engine.sandbox.aws.cloud import Cloud


NAME: Final = re.compile(r"[a-z0-9]+\.execute-api\.[a-z0-9-]+\.amazonaws\.com")


def mend() -> None:
    """Endpoints begin with http://, where they answer."""
    begin = MotoApi.__init__

    def made(api: MotoApi, *args: Any, **named: Any) -> None:
        begin(api, *args, **named)
        api.api_endpoint = api.api_endpoint.replace("https://", "http://")

    replace(MotoApi, __init__=made)


def find(cloud: Cloud, account: str, region: str, id: str) -> Api | None:
    """The HTTP API with this id."""
    with cloud.lock:
        backend = dict(moto.backends.get_backend("apigatewayv2")[account].items()).get(region)
        api: Any = backend.apis.get(id) if backend else None
        if api is None or api.protocol_type != "HTTP":
            return None
        functions = {
            f"integrations/{one.id}": function_of(str(one.integration_uri))
            for one in api.integrations.values()
            if one.integration_type == "AWS_PROXY"
        }
        routes = {one.route_key: functions.get(str(one.target), "") for one in api.routes.values()}
        stages = tuple(stage.name for stage in api.stages.values())
        return Api(id, region, account, routes, stages, dict(api.cors_configuration or {}))


def function_of(uri: str) -> str:
    """The ARN of the function that an integration's URI means, in either of the forms it takes."""
    if ":lambda:path/" in uri:
        return uri.partition("/functions/")[2].removesuffix("/invocations")
    return uri
