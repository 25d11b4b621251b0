"""Lambda that runs functions: moto keeps what it is told of them, workloads run them.

Put right besides: functions take a moment until they are Active, one that is being changed cannot be changed
again, roles must trust Lambda, images are looked up in the sandbox's ECR, a statement is added once only, and
settings that moto forgets are kept.
"""

from __future__ import annotations

import collections
import json
import re
import threading
import time
import weakref
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, unquote

import moto.backends
from moto.awslambda.exceptions import InvalidParameterValueException, LambdaClientError
from moto.awslambda.models import ImageConfig, LambdaBackend, LambdaFunction, LambdaStorage, LayerStorage
from moto.iam.models import Role
from werkzeug.exceptions import HTTPException

from engine.sandbox.aws.environ import body_of, region_of
from engine.sandbox.aws.mending import add, replace
from engine.sandbox.aws.patterns import like
from engine.sandbox.workloads.blobs import digest_of
from engine.sandbox.workloads.functions import Function, Functions, Outcome

if TYPE_CHECKING:
    from engine.sandbox.aws.cloud import Cloud

SETTLES_SECONDS: Final = 0.3
"""From a create or change until a function is Active again; at AWS some seconds."""
INVOCATIONS: Final = re.compile(r"/2015-03-31/functions/(?P<name>[^/]+)/invocations")
_CANNOT_ASSUME: Final = "The role defined for the function cannot be assumed by Lambda."


def _trusts(role: Role) -> bool:
    document = json.loads(unquote(role.assume_role_policy_document or "{}"))
    statements = document.get("Statement", [])
    for statement in statements if isinstance(statements, list) else [statements]:
        services = (statement.get("Principal") or {}).get("Service", [])
        if "lambda.amazonaws.com" in ([services] if isinstance(services, str) else services):
            return True
    return False


def mend(manifest: Callable[[str], bytes | None]) -> None:
    """Mends moto; `manifest` gives the manifest of an image by its name in ECR."""
    _mend_pickling()
    _mend_states()
    _mend_code(manifest)
    _mend_changes()


def _mend_pickling() -> None:
    """What is held weakly, or made by a function without a name, does not pickle."""

    def state(storage: Any) -> dict[str, Any]:
        kept = {**storage.__dict__, "_arns": dict(storage._arns)}
        return {**kept, "_aliases": dict(kept["_aliases"])} if "_aliases" in kept else kept

    def restored(storage: Any, state: dict[str, Any]) -> None:
        storage.__dict__.update(state)
        storage._arns = weakref.WeakValueDictionary(state["_arns"])
        if "_aliases" in state:
            storage._aliases = collections.defaultdict(dict, state["_aliases"])

    for owner in (LambdaStorage, LayerStorage):
        replace(owner, __getstate__=state)
        add(owner, __setstate__=restored)


def _mend_states() -> None:
    configuration, put = LambdaFunction.get_configuration, LambdaStorage.put_function

    def told(function: LambdaFunction, on_create: bool = False) -> dict[str, Any]:
        config = configuration(function, on_create)
        if not _is_busy(function):
            return config
        if not getattr(function, "fresh", False):
            return {**config, "LastUpdateStatus": "InProgress"}
        why = {"StateReason": "The function is being created.", "StateReasonCode": "Creating"}
        return {**config, "State": "Pending", **why}

    def stored(storage: LambdaStorage, function: LambdaFunction) -> None:
        put(storage, function)
        roles = moto.backends.get_backend("iam")[function.account_id]["aws"].roles.values()
        if not any(role.arn == function.role and _trusts(role) for role in roles):
            storage._functions.pop(function.function_name, None)
            storage._arns.pop(function.function_arn, None)
            raise InvalidParameterValueException(_CANNOT_ASSUME)
        _note(function, fresh=True)

    replace(LambdaFunction, get_configuration=told)
    replace(LambdaStorage, put_function=stored)


def _mend_code(manifest: Callable[[str], bytes | None]) -> None:
    code, get = LambdaFunction._set_function_code, LambdaFunction.get_code

    def set_code(function: LambdaFunction, spec: dict[str, Any]) -> None:
        if "ImageUri" not in spec:
            code(function, spec)
            return
        found = manifest(str(spec["ImageUri"]))
        if found is None:
            raise LambdaClientError(
                "InvalidParameterValueException",
                f"Source image {spec['ImageUri']} does not exist. Provide a valid source image.",
            )
        layers = json.loads(found).get("layers", [])
        function.code_sha_256 = digest_of(found).removeprefix("sha256:")
        function.code_size = sum(int(layer.get("size", 0)) for layer in layers)
        function.code_bytes = b""
        function.code["ImageUri"] = spec["ImageUri"]

    def get_code(function: LambdaFunction) -> dict[str, Any]:
        told = get(function)
        if "ImageUri" in function.code:
            uri = str(function.code["ImageUri"])
            head, slash, last = uri.partition("@")[0].rpartition("/")
            bare = f"{head}{slash}{last.partition(':')[0]}"
            told["Code"]["ResolvedImageUri"] = f"{bare}@sha256:{function.code_sha_256}"
        return told

    replace(LambdaFunction, _set_function_code=set_code, get_code=get_code)


def _mend_changes() -> None:
    change = LambdaFunction.update_configuration
    update_code, update = LambdaBackend.update_function_code, LambdaBackend.update_function_configuration

    def changed(function: LambdaFunction, updates: dict[str, Any]) -> dict[str, Any]:
        if "EphemeralStorage" in updates:
            function.ephemeral_storage = updates["EphemeralStorage"]["Size"]
        if "ImageConfig" in updates:
            function.image_config = ImageConfig(updates["ImageConfig"])
        if "TracingConfig" in updates:
            function.tracing_config = updates["TracingConfig"]
        _note(function, fresh=False)
        return change(function, updates)

    def new_code(backend: LambdaBackend, name: str, qualifier: Any, body: dict[str, Any]) -> Any:
        function = backend.get_function(name, qualifier)
        _refuse_busy(function)
        if "Architectures" in body:
            function.architectures = body["Architectures"]
        answer = update_code(backend, name, qualifier, body)
        _note(function, fresh=False)
        return {**(answer or {}), "LastUpdateStatus": "InProgress"}

    def new_settings(backend: LambdaBackend, name: str, qualifier: Any, body: dict[str, Any]) -> Any:
        _refuse_busy(backend.get_function(name, qualifier))
        return update(backend, name, qualifier, body)

    permit = LambdaBackend.add_permission

    def permitted(backend: LambdaBackend, name: str, qualifier: str, raw: str) -> dict[str, Any]:
        id = json.loads(raw).get("StatementId")
        there = backend.get_function(name, qualifier).policy.statements
        if any(statement.get("Sid") == id for statement in there):
            raise LambdaClientError(
                "ResourceConflictException",
                f"The statement id ({id}) provided already exists. Please provide a new statement id, or "
                "remove the existing statement.",
            )
        return permit(backend, name, qualifier, raw)

    replace(LambdaFunction, update_configuration=changed)
    replace(
        LambdaBackend,
        update_function_code=new_code,
        update_function_configuration=new_settings,
        add_permission=permitted,
    )


def _note(function: Any, *, fresh: bool) -> None:
    function.changed_at, function.fresh = time.time(), fresh


def _is_busy(function: Any) -> bool:
    return time.time() - float(getattr(function, "changed_at", 0.0)) < SETTLES_SECONDS


def _refuse_busy(function: Any) -> None:
    if _is_busy(function):
        raise LambdaClientError(
            "ResourceConflictException",
            "The operation cannot be performed at this time. An update is in progress for resource: "
            f"{function.function_arn}",
        )


class Invocations:
    """Invokes functions for Lambda's API and for others; holds the cloud's lock only while it looks."""

    def __init__(self, account: str, cloud: Cloud, functions: Functions) -> None:
        self._account = account
        self._cloud = cloud
        self._functions = functions

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Answers the API's request Invoke, as a WSGI application."""
        found = INVOCATIONS.fullmatch(environ.get("PATH_INFO", ""))
        name = unquote(found["name"]) if found else ""
        qualifier = parse_qs(environ.get("QUERY_STRING", "")).get("Qualifier", [""])[0]
        event = body_of(environ)
        status, headers, body = self._answer(region_of(environ), name, qualifier, event, environ)
        headers = [("Content-Length", str(len(body))), *headers]
        start_response(status, headers)
        return [body]

    def _answer(
        self, region: str, name: str, qualifier: str, event: bytes, environ: dict[str, Any]
    ) -> tuple[str, list[tuple[str, str]], bytes]:
        function = self.find(region, name, qualifier)
        if function is None:
            arn = f"arn:aws:lambda:{region}:{self._account}:function:{name}"
            body = json.dumps({"Type": "User", "Message": f"Function not found: {arn}"}).encode()
            return "404 Not Found", [("x-amzn-ErrorType", "ResourceNotFoundException")], body
        sort = environ.get("HTTP_X_AMZ_INVOCATION_TYPE", "RequestResponse")
        if sort == "DryRun":
            return "204 No Content", [], b""
        if sort == "Event":
            threading.Thread(target=self.invoke, args=(function, event), daemon=True).start()
            return "202 Accepted", [], b""
        outcome = self.invoke(function, event)
        headers = [("Content-Type", "application/json"), ("X-Amz-Executed-Version", function.version)]
        if environ.get("HTTP_X_AMZ_LOG_TYPE") == "Tail":
            headers.append(("X-Amz-Log-Result", outcome.tail))
        if outcome.error:
            headers.append(("X-Amz-Function-Error", outcome.error))
        return "200 OK", headers, outcome.payload

    def invoke(self, function: Function, event: bytes) -> Outcome:
        """Runs it, and keeps what it prints in CloudWatch Logs."""
        outcome = self._functions.invoke(function, event)
        self._log(function, outcome)
        return outcome

    def find(self, region: str, name: str, qualifier: str = "") -> Function | None:
        """The function by its name or ARN, with a version or alias."""
        with self._cloud.lock:
            backend = moto.backends.get_backend("lambda")[self._account][region]
            try:
                found: Any = backend.get_function(name, qualifier or None)
            except HTTPException:  # what moto's errors of this service are
                return None
            image = str(found.code.get("ImageUri", ""))
            return Function(
                name=found.function_name,
                arn=found.function_arn,
                version=str(found.version),
                handler="" if image else str(found.handler),
                runtime="" if image else str(found.run_time),
                timeout=float(found.timeout),
                memory=int(found.memory_size),
                environment=dict(found.environment_vars),
                region=region,
                code=b"" if image else bytes(found.code_bytes),
                layers=tuple(_layer(backend, one["Arn"]) for one in found.layers),
                image=image,
                command=tuple(found.image_config.cmd or ()),
            )

    def may_invoke(self, function: Function, principal: str, source: str) -> bool:
        """Whether the function's policy lets a service invoke it for the ARN `source`."""
        with self._cloud.lock:
            backend = moto.backends.get_backend("lambda")[self._account][function.region]
            statements = backend.get_function(function.arn, None).policy.statements
            return any(_allows(statement, principal, source) for statement in statements)

    def sweep(self) -> None:
        """Ends functions that have been deleted; to be called when anything has changed."""
        with self._cloud.lock:
            regions = moto.backends.get_backend("lambda")[self._account]
            arns = {arn for backend in dict(regions.items()).values() for arn in backend._lambdas._arns}
        self._functions.keep(frozenset(map(str, arns)))

    def _log(self, function: Function, outcome: Outcome) -> None:
        if not outcome.stream:
            return
        with self._cloud.lock:
            logs = moto.backends.get_backend("logs")[self._account][function.region]
            logs.ensure_log_group(function.log_group)
            group = logs.groups[function.log_group]
            if outcome.stream not in group.streams:
                logs.create_log_stream(function.log_group, outcome.stream)
            events = [{"timestamp": line.time, "message": line.text} for line in outcome.log]
            logs.put_log_events(function.log_group, outcome.stream, events)
        self._cloud.changed()


def _layer(backend: Any, arn: str) -> bytes:
    found = backend.layers_versions_by_arn(arn)
    return bytes(found.code_bytes) if found is not None else b""


def _allows(statement: dict[str, Any], principal: str, source: str) -> bool:
    who = statement.get("Principal")
    services = who.get("Service") if isinstance(who, dict) else who
    if statement.get("Effect") != "Allow" or services not in (principal, "*"):
        return False
    conditions = statement.get("Condition") or {}
    patterns = [
        pattern
        for operator in ("ArnLike", "ArnEquals", "StringEquals", "StringLike")
        for name, pattern in (conditions.get(operator) or {}).items()
        if name.lower() in ("aws:sourcearn",)
    ]
    return all(like(source, pattern) for pattern in patterns)
