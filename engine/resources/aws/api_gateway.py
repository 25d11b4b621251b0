"""HTTP APIs of API Gateway, which put functions of Lambda on the web."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, Self

from pydantic import Field, field_validator, model_validator

from engine.aws.errors import AwsError
from engine.aws.tags import is_made_by, narrow, readable, tags_for, told_tags
from engine.by_hand import assign, aws, itself, json_word, told, variable, word
from engine.refs import Unknown, holds_unknown
from engine.resource import Fields, Fixed, Id, Output, Place, Values, plain
from engine.resources.aws._aws import finish, iam_actions, unless_gone
from engine.resources.aws._tagging import TaggedByArn, Tagging

if TYPE_CHECKING:
    from engine.world import World

_ROUTE: Final = re.compile(
    r"\$default|(?:ANY|GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS) "
    r"(?:/|(?:/[\w.~@:+$-]+|/\{\w+\})*(?:/\{\w+\+\})?)"
)
_ARN: Final = re.compile(
    r"arn:(?P<partition>[\w-]+):lambda:(?P<region>[a-z0-9-]+):(?P<account>\d{12}):function:[\w-]+(?::[\w$-]+)?"
)
_CORS: Final = {
    "allow_origins": "AllowOrigins",
    "allow_methods": "AllowMethods",
    "allow_headers": "AllowHeaders",
    "expose_headers": "ExposeHeaders",
    "max_age": "MaxAge",
    "allow_credentials": "AllowCredentials",
}
Method = Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "*"]
_FORBIDDEN: Final = " (API Gateway may not invoke it)"


class CorsConfiguration(Fields):
    """Which pages of other sites may use the API from a browser (CORS)."""

    allow_origins: list[str] = Field(min_length=1)
    """`https://example.com`, or `*` for all."""
    allow_methods: list[Method] | None = None
    """The methods they may use."""
    allow_headers: list[str] | None = None
    """The headers they may send, such as content-type."""
    expose_headers: list[str] | None = None
    """The headers of answers that they may see."""
    max_age: int | None = Field(default=None, ge=-1, le=86400)
    """Seconds for which a browser may remember this."""
    allow_credentials: bool | None = None
    """Whether cookies are sent along; not with the origin `*`."""

    @model_validator(mode="after")
    def _no_credentials_for_all(self) -> Self:
        if self.allow_credentials and "*" in self.allow_origins:
            raise ValueError("allow_credentials needs named allow_origins, not *")
        return self


class ApiGateway(TaggedByArn):
    """An HTTP API: a web address whose routes lead to functions of Lambda, which it may then invoke."""

    kind: ClassVar[str] = "api_gateway"
    tagging: ClassVar[Tagging] = Tagging(
        "apigatewayv2", "tag_resource", "untag_resource", "ResourceArn", form="map"
    )
    actions: ClassVar[Sequence[str]] = (
        *iam_actions("apigateway", "DELETE GET PATCH POST PUT TagResource UntagResource"),
        *iam_actions("lambda", "AddPermission GetPolicy RemovePermission"),
    )
    outputs: ClassVar[Mapping[str, Output]] = {
        "id": Output("the API's id"),
        "api_endpoint": Output("its address, https://ID.execute-api.REGION.amazonaws.com"),
        "url": Output("the address of its stage, with a slash at the end"),
        "arn": Output("the API's ARN"),
    }

    name: str = Field(min_length=1, max_length=128)
    """What the console lists it by; two may have the same."""
    description: str = Field(default="", max_length=1024)
    """What it is for."""
    routes: dict[str, Id] = Field(min_length=1, max_length=300)
    """The function (its ARN) for each route: `$default`, `POST /predict`, `ANY /{proxy+}`."""
    stage: Fixed[str] = Field(default="$default", pattern=r"^(\$default|[A-Za-z0-9_-]{1,128})$")
    """The stage that answers; any but $default is the first part of paths."""
    cors_configuration: CorsConfiguration | None = None
    """Which pages of other sites may use it from a browser."""

    @field_validator("routes")
    @classmethod
    def _route_keys(cls, value: dict[str, Any]) -> dict[str, Any]:
        for key, function in value.items():
            if not _ROUTE.fullmatch(key):
                raise ValueError(
                    f"`{key}` is no route: write `$default`, or a method (ANY for all) and a path, "
                    "`POST /predict`, `GET /items/{id}`, `ANY /{proxy+}`"
                )
            if not isinstance(function, Unknown) and not _ARN.fullmatch(function):
                raise ValueError(f"`{key}` must lead to the ARN of a function, as `arn` of lambda_function")
        return value

    @classmethod
    def differs(cls, name: str, wanted: Any, there: Any) -> bool:
        """Of the rules for other sites, what is asked for counts."""
        if name == "cors_configuration" and isinstance(wanted, dict) and isinstance(there, dict):
            return _cors(wanted) != _cors(there)
        return bool(wanted != there)

    @classmethod
    def describe_difference(cls, name: str, wanted: Any, there: Any) -> str | None:
        """Routes by what becomes of them."""
        if name != "routes" or not isinstance(wanted, dict) or not isinstance(there, dict):
            return None
        new = [key for key in wanted if key not in there]
        gone = [key for key in there if key not in wanted]
        moved = [key for key in wanted if key in there and wanted[key] != there[key]]
        told = [(new, "is new"), (gone, "is no longer wanted"), (moved, "leads elsewhere")]
        return "; ".join(f"{', '.join(keys)} {words}" for keys, words in told if keys) or None

    def reach(self, place: Place) -> Mapping[str, Sequence[str]]:
        """HTTP APIs of this region, whose ids nobody can choose, and the functions of its routes."""
        apis = [place.arn("apigateway", name, account=False) for name in ("/apis", "/apis/*", "/tags/*")]
        routes = self.routes if isinstance(self.routes, dict) else {"": self.routes}
        functions = list(dict.fromkeys(routes.values()))
        known = [] if holds_unknown(functions) else functions
        return {
            action: apis if action.startswith("apigateway:") else known
            for action in self.actions
            if known or action.startswith("apigateway:")
        }

    def create(self, world: World) -> str:
        """CreateApi, then an integration for each function, the routes, the stage and the permissions."""
        given: dict[str, Any] = {"Description": self.description} if self.description else {}
        if self.cors_configuration is not None:
            given["CorsConfiguration"] = _sent(self.cors_configuration)
        answer = world.aws.call(
            "apigatewayv2",
            "create_api",
            Name=self.name,
            ProtocolType="HTTP",
            Tags=narrow(tags_for(world)),
            **given,
        )
        id = str(answer["ApiId"])
        finish(world, id, lambda: self._connect(world, id))
        return id

    def _connect(self, world: World, id: str) -> None:
        """Brings routes, integrations, stage and permissions to what is wanted."""
        integrations = _integrations(world, id)
        for function in dict.fromkeys(self.routes.values()):
            if function not in integrations:
                made = _ask(
                    world,
                    "create_integration",
                    ApiId=id,
                    IntegrationType="AWS_PROXY",
                    IntegrationUri=function,
                    PayloadFormatVersion="2.0",
                )
                integrations[function] = str(made["IntegrationId"])
            _permit(world, id, function)
        self._route(world, id, integrations)
        for function, integration in integrations.items():
            if function not in self.routes.values():
                _quietly(world, "delete_integration", ApiId=id, IntegrationId=integration)
                _forbid(world, id, function)
        if self.stage not in _stages(world, id):
            _ask(world, "create_stage", ApiId=id, StageName=self.stage, AutoDeploy=True)

    def _route(self, world: World, id: str, integrations: Mapping[str, str]) -> None:
        routes = {str(route["RouteKey"]): route for route in _routes(world, id)}
        for key, function in self.routes.items():
            target = f"integrations/{integrations[function]}"
            if key not in routes:
                _ask(world, "create_route", ApiId=id, RouteKey=key, Target=target)
            elif routes[key].get("Target") != target:
                _ask(world, "update_route", ApiId=id, RouteId=routes[key]["RouteId"], Target=target)
        for key, route in routes.items():
            if key not in self.routes:
                _quietly(world, "delete_route", ApiId=id, RouteId=route["RouteId"])

    @classmethod
    def read_many(cls, world: World, ids: Sequence[str]) -> dict[str, Values]:
        """GetApis; then of each of them its routes, integrations and stages, and its functions' policies."""
        every = world.aws.pages("apigatewayv2", "get_apis", "Items") if ids else []
        return {str(api["ApiId"]): _values(world, api) for api in every if api["ApiId"] in ids}

    def update(self, world: World, id: str, changed: frozenset[str]) -> None:
        """UpdateApi; routes and integrations one by one, new ones before old ones go."""
        given: dict[str, Any] = {}
        if "name" in changed:
            given["Name"] = self.name
        if "description" in changed:
            given["Description"] = self.description
        if "cors_configuration" in changed and self.cors_configuration is not None:
            given["CorsConfiguration"] = _sent(self.cors_configuration)
        if given:
            _ask(world, "update_api", ApiId=id, **given)
        if "cors_configuration" in changed and self.cors_configuration is None:
            _quietly(world, "delete_cors_configuration", ApiId=id)
        if "routes" in changed:
            self._connect(world, id)

    @classmethod
    def delete(cls, world: World, id: str) -> None:
        """DeleteApi with all that is in it, and the permissions to invoke its functions."""
        functions = unless_gone(lambda: list(_integrations(world, id)))
        if functions is None:
            return
        for function in functions:
            _forbid(world, id, function)
        _quietly(world, "delete_api", ApiId=id)

    @classmethod
    def find(cls, world: World) -> list[str]:
        """By the tags that CreateApi was sent with."""
        every = world.aws.pages("apigatewayv2", "get_apis", "Items")
        return [str(api["ApiId"]) for api in every if is_made_by(world, told_tags(api.get("Tags")))]

    def as_commands(self, action: str, id: str | None, changed: frozenset[str] = frozenset()) -> list[str]:
        """`aws apigatewayv2 create-api` and so on, `aws lambda add-permission`."""
        if action == "delete":
            return [f"aws apigatewayv2 delete-api --api-id {word(id)}"]
        own = word(itself(self, id))
        lines = []
        if action == "create":
            command = aws(
                "create-api",
                service="apigatewayv2",
                query="ApiId",
                name=self.name,
                protocol_type="HTTP",
                description=self.description or None,
            )
            cors = self._cors_by_hand()
            lines.append(assign(self._address, command.replace(" --query", f"{cors} --query", 1)))
        elif changed - {"routes"}:
            command = aws("update-api", service="apigatewayv2", name=self.name, description=self.description)
            lines.append(f"{command} --api-id {own}{self._cors_by_hand()}")
        if action == "create" or "routes" in changed:
            lines += self._routes_by_hand(own)
        if action == "create":
            stage = f"--stage-name {word(self.stage)} --auto-deploy"
            lines.append(f"aws apigatewayv2 create-stage --api-id {own} {stage}")
        asked = f"aws apigatewayv2 get-api --api-id {own}"
        queries = {"api_endpoint": "ApiEndpoint", "url": "ApiEndpoint"}
        return [*lines, *told(self, asked, queries)]

    def _cors_by_hand(self) -> str:
        cors = self.cors_configuration
        if cors is None or holds_unknown(cors):
            return ""
        return f" --cors-configuration {json_word(_sent(cors))}"

    def _routes_by_hand(self, own: str) -> list[str]:
        lines, there = list[str](), self._beside.there.get("routes") or {}
        name = variable(self._address, "integration")
        routes = self.routes if isinstance(self.routes, dict) else {}
        for key, function in routes.items():
            if there.get(key) == function:
                continue
            made = (
                f"aws apigatewayv2 create-integration --api-id {own} --integration-type AWS_PROXY "
                f"--integration-uri {word(function)} --payload-format-version 2.0"
            )
            lines.append(f"{name}=$({made} --query IntegrationId --output text)")
            target = f'--target "integrations/${name}"'
            lines.append(f"aws apigatewayv2 create-route --api-id {own} --route-key {word(key)} {target}")
            lines.append(
                f"aws lambda add-permission --function-name {word(function)} --action lambda:InvokeFunction "
                f'--principal apigateway.amazonaws.com --statement-id "labctl-"{own} '
                f'--source-arn "arn:aws:execute-api:*:*:"{own}"/*"'
            )
        return lines

    def price(self) -> float | None:
        """Nothing by the hour: 1.00 USD per million requests."""
        return 0.0


def _ask(world: World, operation: str, **params: Any) -> dict[str, Any]:
    """A request that may be sent twice: what it makes twice is found and put in order by the next update."""
    return world.aws.call("apigatewayv2", operation, retry=True, **params)


def _quietly(world: World, operation: str, **params: Any) -> None:
    unless_gone(lambda: _ask(world, operation, **params))


def _integrations(world: World, id: str) -> dict[str, str]:
    """The ids of the integrations, by the ARN of their functions."""
    every = world.aws.pages("apigatewayv2", "get_integrations", "Items", ApiId=id)
    return {str(one.get("IntegrationUri", "")): str(one["IntegrationId"]) for one in every}


def _routes(world: World, id: str) -> list[dict[str, Any]]:
    return world.aws.pages("apigatewayv2", "get_routes", "Items", ApiId=id)


def _stages(world: World, id: str) -> list[str]:
    every = world.aws.pages("apigatewayv2", "get_stages", "Items", ApiId=id)
    return [str(stage["StageName"]) for stage in every]


def _statement(id: str) -> str:
    return f"labctl-{id}"


def _permit(world: World, id: str, function: str) -> None:
    """AddPermission: all stages and routes of the API may invoke the function."""
    found = _ARN.fullmatch(function)
    if found is None:
        return
    place = f"arn:{found['partition']}:execute-api:{found['region']}:{found['account']}"
    try:
        world.aws.call(
            "lambda",
            "add_permission",
            retry=True,
            FunctionName=function,
            StatementId=_statement(id),
            Action="lambda:InvokeFunction",
            Principal="apigateway.amazonaws.com",
            SourceArn=f"{place}:{id}/*",
        )
    except AwsError as error:
        if error.code != "ResourceConflictException" or "already exists" not in error.said:
            raise


def _forbid(world: World, id: str, function: str) -> None:
    """RemovePermission; neither the permission nor the function need be there any more."""
    if not _ARN.fullmatch(function):
        return
    asked = {"FunctionName": function, "StatementId": _statement(id)}
    unless_gone(lambda: world.aws.call("lambda", "remove_permission", retry=True, **asked))


def _may_invoke(world: World, id: str, function: str) -> bool:
    answer = unless_gone(lambda: world.aws.call("lambda", "get_policy", FunctionName=function))
    statements = json.loads(answer["Policy"])["Statement"] if answer else ()
    return any(one.get("Sid") == _statement(id) for one in statements)


def _values(world: World, api: Mapping[str, Any]) -> Values:
    id = str(api["ApiId"])
    functions = {f"integrations/{one}": arn for arn, one in _integrations(world, id).items()}
    routes = {
        str(route["RouteKey"]): functions.get(str(route.get("Target")), "") for route in _routes(world, id)
    }
    allowed = {arn for arn in set(routes.values()) if _ARN.fullmatch(arn) and _may_invoke(world, id, arn)}
    stages = _stages(world, id)
    stage = next(iter(stages), None)
    endpoint = str(api["ApiEndpoint"])
    cors = api.get("CorsConfiguration")
    return {
        "id": id,
        "name": api["Name"],
        "description": api.get("Description", ""),
        "arn": f"arn:aws:apigateway:{world.aws.region}::/apis/{id}",
        "api_endpoint": endpoint,
        "url": f"{endpoint}/" if stage in ("$default", None) else f"{endpoint}/{stage}/",
        "stage": stage,
        "routes": {key: arn if arn in allowed else f"{arn}{_FORBIDDEN}" for key, arn in routes.items()},
        "cors_configuration": _read(cors) if cors else None,
        "tags": readable(told_tags(api.get("Tags"))),
    }


def _sent(cors: CorsConfiguration) -> dict[str, Any]:
    return {_CORS[name]: value for name, value in plain(cors).items()}


def _read(cors: Mapping[str, Any]) -> dict[str, Any]:
    return {name: cors[sent] for name, sent in _CORS.items() if cors.get(sent) not in (None, [])}


def _cors(rules: Mapping[str, Any]) -> dict[str, Any]:
    """Without what stands for its default, lists in order; headers whatever their case."""
    plain_ones = {name: value for name, value in rules.items() if value not in (None, [], False, 0)}
    return {
        name: sorted(item.lower() if "headers" in name else item for item in value)
        if isinstance(value, list)
        else value
        for name, value in plain_ones.items()
    }
