"""The Cloud Control API, which moto lacks: on top of what moto can make for CloudFormation templates.

A type that moto cannot make is kept as a document: it reads, changes and goes as it should, and does nothing.
"""

from __future__ import annotations

import contextlib
import json
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import jsonpatch
import moto.backends
from moto.cloudformation.exceptions import UnformattedGetAttTemplateException
from moto.cloudformation.parsing import get_model_map
from moto.core.common_models import CloudFormationModel
from moto.core.exceptions import ServiceException

from engine.sandbox.aws.environ import body_of, region_of
from engine.sandbox.aws.resource_types import UnknownType, complaints, schema

TARGET = "CloudApiService."
"""How the header X-Amz-Target of its requests begins."""
_DAYS_KEPT = 7
_TRIPS = (AttributeError, KeyError, NotImplementedError, TypeError, ValueError)
"""What moto's models raise at properties that AWS takes and that they do not know."""


@dataclass
class Document:
    """One resource: its properties, and what moto calls the thing that it made of them."""

    type_name: str
    region: str
    properties: dict[str, Any]
    real: str | None = None
    seen: bool = False
    """Whether moto's own object can be looked at, so that its absence means that it was deleted."""


@dataclass
class Resources:
    """What must outlive the process: resources by region, type and identifier, and the requests made."""

    documents: dict[tuple[str, str, str], Document] = field(default_factory=dict)
    events: dict[str, dict[str, Any]] = field(default_factory=dict)
    tokens: dict[tuple[str, str], tuple[str, str]] = field(default_factory=dict)
    """By region and client token: what was asked, and the token of the request it began."""


class Refused(Exception):
    """A request that is refused at once, with an error code."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Failed(Exception):
    """A request that is taken and then fails, with a HandlerErrorCode."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class CloudControl:
    """A WSGI application for the resources of one account, which are kept in `state`."""

    def __init__(self, account: str, state: Resources) -> None:
        self.account = account
        self.state = state

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Answers one request of the API (JSON 1.0)."""
        params = json.loads(body_of(environ) or b"{}")
        operation = str(environ["HTTP_X_AMZ_TARGET"]).removeprefix(TARGET)
        status, told = self.answer(operation, region_of(environ), params)
        body = json.dumps(told).encode()
        headers = [("Content-Type", "application/x-amz-json-1.0"), ("Content-Length", str(len(body)))]
        start_response(status, headers)
        return [body]

    def answer(self, operation: str, region: str, params: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """HTTP status and document of the answer."""
        operations: Mapping[str, Callable[[str, dict[str, Any]], dict[str, Any]]] = {
            "CreateResource": self._create,
            "GetResource": self._get,
            "UpdateResource": self._update,
            "DeleteResource": self._delete,
            "ListResources": self._list,
            "GetResourceRequestStatus": self._status,
            "ListResourceRequests": self._requests,
        }
        if operation not in operations:
            return _refusal("UnsupportedActionException", f"The sandbox does not know {operation}.")
        try:
            told = operations[operation](region, params)
        except Refused as refused:
            return _refusal(refused.code, str(refused))
        except UnknownType as unknown:
            return _refusal("TypeNotFoundException", f"The type '{unknown}' cannot be found.")
        return "200 OK", told

    # -- operations ------------------------------------------------------------------------------------------

    def _create(self, region: str, params: dict[str, Any]) -> dict[str, Any]:
        type_name, desired = params["TypeName"], json.loads(params["DesiredState"])
        described = schema(region, type_name)

        def act() -> tuple[str, dict[str, Any]]:
            _check(described, desired)
            document = Document(type_name, region, desired)
            identifier = self._identifier(described, document, generated=None)
            if identifier is not None and (region, type_name, identifier) in self.state.documents:
                raise Failed(
                    "AlreadyExists",
                    f"Resource of type '{type_name}' with identifier '{identifier}' already exists.",
                )
            self._make_real(described, document)
            identifier = self._identifier(
                described, document, generated=document.real or uuid.uuid4().hex[:20]
            )
            assert identifier is not None
            self.state.documents[region, type_name, identifier] = document
            return identifier, document.properties

        return self._once(region, "CREATE", params, act)

    def _get(self, region: str, params: dict[str, Any]) -> dict[str, Any]:
        document = self._there(region, params)
        hidden = schema(region, document.type_name).get("writeOnlyProperties", ())
        told = _without(document.properties, hidden)
        description = {"Identifier": params["Identifier"], "Properties": json.dumps(told)}
        return {"TypeName": document.type_name, "ResourceDescription": description}

    def _update(self, region: str, params: dict[str, Any]) -> dict[str, Any]:
        document = self._there(region, params)
        described = schema(region, document.type_name)
        wanted = jsonpatch.apply_patch(document.properties, json.loads(params["PatchDocument"]))

        def act() -> tuple[str, dict[str, Any]]:
            _check(described, _without(wanted, described.get("readOnlyProperties", ())))
            for pointer in described.get("createOnlyProperties", ()):
                if _at(wanted, pointer) != _at(document.properties, pointer):
                    raise Failed(
                        "NotUpdatable",
                        f"Invalid patch update: createOnlyProperties [{pointer}] cannot be updated",
                    )
            self._change_real(document, wanted)
            document.properties = wanted
            return str(params["Identifier"]), wanted

        return self._once(region, "UPDATE", params, act)

    def _delete(self, region: str, params: dict[str, Any]) -> dict[str, Any]:
        def act() -> tuple[str, dict[str, Any]]:
            document = self._kept(region, params)
            if document is None:
                raise Failed("NotFound", _not_found(params))
            self._remove_real(document)
            del self.state.documents[region, params["TypeName"], params["Identifier"]]
            return str(params["Identifier"]), {}

        schema(region, params["TypeName"])
        return self._once(region, "DELETE", params, act)

    def _list(self, region: str, params: dict[str, Any]) -> dict[str, Any]:
        described = schema(region, params["TypeName"])
        identifiers = [i for r, t, i in self.state.documents if (r, t) == (region, params["TypeName"])]
        names = [pointer.rpartition("/")[2] for pointer in described.get("primaryIdentifier", ())]
        found = [
            {"Identifier": i, "Properties": json.dumps(dict(zip(names, i.split("|"), strict=False)))}
            for i in identifiers
        ]
        return {"TypeName": params["TypeName"], "ResourceDescriptions": found}

    def _status(self, region: str, params: dict[str, Any]) -> dict[str, Any]:
        event = self.state.events.get(params["RequestToken"])
        if event is None:
            raise Refused(
                "RequestTokenNotFoundException", f"Request with token {params['RequestToken']} was not found"
            )
        return {"ProgressEvent": event}

    def _requests(self, region: str, params: dict[str, Any]) -> dict[str, Any]:
        wanted = params.get("ResourceRequestStatusFilter", {})
        found = [
            event
            for event in self.state.events.values()
            if event["Operation"] in wanted.get("Operations", [event["Operation"]])
            and event["OperationStatus"] in wanted.get("OperationStatuses", [event["OperationStatus"]])
        ]
        page, start = 20, int(params.get("NextToken", 0))
        more = {"NextToken": str(start + page)} if len(found) > start + page else {}
        return {"ResourceRequestStatusSummaries": found[start : start + page], **more}

    def _once(
        self,
        region: str,
        operation: str,
        params: dict[str, Any],
        act: Callable[[], tuple[str, dict[str, Any]]],
    ) -> dict[str, Any]:
        """The event of a request; one sent again with its client token is not carried out again."""
        asked = json.dumps(
            [operation, {k: v for k, v in params.items() if k != "ClientToken"}], sort_keys=True
        )
        token = params.get("ClientToken")
        if token and (region, token) in self.state.tokens:
            before, request = self.state.tokens[region, token]
            if before != asked:
                raise Refused(
                    "ClientTokenConflictException", "The client token was used for another request."
                )
            return {"ProgressEvent": self.state.events[request]}
        event = self._carried_out(operation, params, act)
        if token:
            self.state.tokens[region, token] = asked, event["RequestToken"]
        # At AWS the outcome is never in the first answer.
        begun = {k: v for k, v in event.items() if k not in ("ResourceModel", "ErrorCode", "StatusMessage")}
        return {"ProgressEvent": {**begun, "OperationStatus": "IN_PROGRESS"}}

    def _carried_out(
        self, operation: str, params: dict[str, Any], act: Callable[[], tuple[str, dict[str, Any]]]
    ) -> dict[str, Any]:
        now = time.time()
        event = {
            "TypeName": params["TypeName"],
            "RequestToken": str(uuid.uuid4()),
            "Operation": operation,
            "EventTime": now,
        }
        if "Identifier" in params:
            event["Identifier"] = params["Identifier"]
        try:
            identifier, properties = act()
            event |= {
                "OperationStatus": "SUCCESS",
                "Identifier": identifier,
                "ResourceModel": json.dumps(properties),
            }
        except Failed as failed:
            event |= {"OperationStatus": "FAILED", "ErrorCode": failed.code, "StatusMessage": str(failed)}
        fresh = now - _DAYS_KEPT * 86400
        self.state.events = {k: v for k, v in self.state.events.items() if v["EventTime"] > fresh}
        self.state.events[event["RequestToken"]] = event
        return event

    def _there(self, region: str, params: dict[str, Any]) -> Document:
        schema(region, params["TypeName"])
        document = self._kept(region, params)
        if document is None:
            raise Refused("ResourceNotFoundException", _not_found(params))
        return document

    def _kept(self, region: str, params: dict[str, Any]) -> Document | None:
        """What a request names; forgotten where moto's own object was deleted."""
        key = (region, params["TypeName"], params["Identifier"])
        document = self.state.documents.get(key)
        if document is None or not document.seen or self._place(document) is not None:
            return document
        del self.state.documents[key]
        return None

    # -- what moto makes of it -------------------------------------------------------------------------------

    def _make_real(self, described: dict[str, Any], document: Document) -> None:
        model = get_model_map().get(document.type_name)
        if model is None:
            return
        name = document.properties.get(model.cloudformation_name_type() or "", f"cc-{uuid.uuid4().hex[:12]}")
        made = _by_moto(
            model.create_from_cloudformation_json,
            name,
            _asked(document),
            self.account,
            document.region,
            LogicalId=name,
            StackId="",
            ResourceType=document.type_name,
        )
        document.real = str(made.physical_resource_id)
        document.seen = self._place(document) is not None
        for pointer in described.get("readOnlyProperties", ()):
            attribute = pointer.removeprefix("/properties/").replace("/", ".")
            # moto says in many ways that it does not know an attribute.
            with contextlib.suppress(AttributeError, KeyError, UnformattedGetAttTemplateException):
                document.properties.setdefault(attribute, made.get_cfn_attribute(attribute))

    def _change_real(self, document: Document, wanted: dict[str, Any]) -> None:
        model, there = get_model_map().get(document.type_name), self._real(document)
        if model is None or there is None:
            return
        changed = Document(document.type_name, document.region, wanted, document.real)
        if not _knows(model.update_from_cloudformation_json):
            self._make_again(model, changed)
            return
        _by_moto(
            model.update_from_cloudformation_json,
            original_resource=there,
            new_resource_name=document.real or "",
            cloudformation_json=_asked(changed),
            account_id=self.account,
            region_name=document.region,
        )

    def _make_again(self, model: type[CloudFormationModel], changed: Document) -> None:
        """What moto cannot change is made anew where its id ends in its name, and so stays the same.

        Of everything else only the document changes.
        """
        name = changed.properties.get(model.cloudformation_name_type() or "")
        if name is None or not (changed.real or "").endswith(str(name)):
            return
        self._remove_real(changed)
        _by_moto(model.create_from_cloudformation_json, name, _asked(changed), self.account, changed.region)

    def _remove_real(self, document: Document) -> None:
        model, place = get_model_map().get(document.type_name), self._place(document)
        if model is None:
            return
        if not _knows(model.delete_from_cloudformation_json):
            if place is not None:
                del place[0][place[1]]
            return
        _by_moto(
            model.delete_from_cloudformation_json,
            document.real or "",
            _asked(document),
            self.account,
            document.region,
        )

    def _real(self, document: Document) -> Any:
        """moto's own object."""
        place = self._place(document)
        return place[0][place[1]] if place else None

    def _place(self, document: Document) -> tuple[dict[Any, Any], Any] | None:
        """Where moto's own object is kept; None where somebody has deleted it through its own service."""
        if document.real is None:
            return None
        model = get_model_map()[document.type_name]
        regions = _backends(model.__module__.split(".")[1])[self.account]
        region = document.region if document.region in regions else "aws"
        for holder, key in _members(vars(regions[region]), depth=3):
            thing = holder[key]
            if (
                isinstance(thing, model)
                and str(getattr(thing, "physical_resource_id", None)) == document.real
            ):
                return holder, key
        return None

    def _identifier(self, described: dict[str, Any], document: Document, generated: str | None) -> str | None:
        """The primary identifier of a resource; `generated` where its properties do not tell it."""
        parts = [_at(document.properties, pointer) for pointer in described.get("primaryIdentifier", ())]
        if parts and all(part is not None for part in parts):
            return "|".join(map(str, parts))
        if generated is not None and len(parts) == 1:
            name = described["primaryIdentifier"][0].removeprefix("/properties/")
            document.properties[name] = generated
        return generated


def _asked(document: Document) -> dict[str, Any]:
    """A resource as moto's half of CloudFormation takes it: tags are always a list there."""
    properties = dict(document.properties)
    if isinstance(properties.get("Tags"), dict):
        properties["Tags"] = [{"Key": key, "Value": text} for key, text in properties["Tags"].items()]
    return {"Type": document.type_name, "Properties": properties}


def _knows(method: Callable[..., Any]) -> bool:
    """Whether a model of moto's has a method of its own, and not the abstract one."""
    return not hasattr(method, "__isabstractmethod__")


def _backends(service: str) -> Any:
    """moto's backends of the service whose module is named so, by account and region."""
    named: Any = moto.backends
    return named.get_backend({"awslambda": "lambda"}.get(service, service))


def _members(holder: dict[Any, Any], depth: int) -> Iterator[tuple[dict[Any, Any], Any]]:
    """Each member of a mapping and of the mappings in it, as the mapping and its key."""
    for key, value in list(holder.items()):
        yield holder, key
        if depth and isinstance(value, dict):
            yield from _members(value, depth - 1)


def _check(described: dict[str, Any], properties: dict[str, Any]) -> None:
    wrong = complaints(described, properties)
    if wrong:
        raise Failed("InvalidRequest", f"Model validation failed ({'; '.join(wrong)})")


def _by_moto(act: Callable[..., Any], *given: Any, **named: Any) -> Any:
    """What a model of moto's does. Raises Failed where it refuses, or cannot."""
    try:
        return act(*given, **named)
    except ServiceException as refused:
        exists = "exist" in str(refused).lower() or "Duplicate" in str(getattr(refused, "code", ""))
        raise Failed("AlreadyExists" if exists else "InvalidRequest", str(refused)) from None
    except _TRIPS as error:
        words = f"The sandbox cannot do this: {type(error).__name__} {error}"
        raise Failed("InternalFailure", words) from error


def _without(properties: Mapping[str, Any], pointers: Iterable[str]) -> dict[str, Any]:
    """The properties without those at `pointers`."""
    left = dict(properties)
    for pointer in pointers:
        name, *rest = pointer.removeprefix("/properties/").split("/")
        if not rest:
            left.pop(name, None)
        elif isinstance(left.get(name), dict):
            left[name] = _without(left[name], ["/".join(rest)])
    return left


def _at(properties: Any, pointer: str) -> Any:
    for step in pointer.removeprefix("/properties/").split("/"):
        properties = properties.get(step) if isinstance(properties, dict) else None
    return properties


def _not_found(params: Mapping[str, Any]) -> str:
    return f"Resource of type '{params['TypeName']}' with identifier '{params['Identifier']}' was not found."


def _refusal(code: str, message: str) -> tuple[str, dict[str, Any]]:
    return "400 Bad Request", {"__type": code, "message": message}
