"""What the sandbox's HTTP APIs make of requests and answers (payload format 2.0)."""

from __future__ import annotations

import json

import pytest
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request

from engine.sandbox.aws.http_apis import function_of
from engine.sandbox.workloads.functions import Function, Outcome
from engine.sandbox.workloads.http_api import (
    Api,
    Front,
    Hit,
    answer_of,
    cors_headers,
    event_of,
    route,
    stage_and_path,
)

ROUTES = {
    key: key
    for key in (
        "$default",
        "POST /predict",
        "ANY /predict",
        "GET /items/{id}",
        "GET /items/new",
        "ANY /{all+}",
    )
}


@pytest.mark.parametrize(
    ("method", "path", "key", "parameters"),
    [
        ("POST", "/predict", "POST /predict", {}),
        ("POST", "/predict/", "POST /predict", {}),
        ("PUT", "/predict", "ANY /predict", {}),
        ("GET", "/items/7", "GET /items/{id}", {"id": "7"}),
        ("GET", "/items/new", "GET /items/new", {}),
        ("GET", "/items/7/parts", "ANY /{all+}", {"all": "items/7/parts"}),
        ("GET", "/", "$default", {}),
    ],
)
def test_the_most_specific_route_is_taken(
    method: str, path: str, key: str, parameters: dict[str, str]
) -> None:
    assert route(ROUTES, method, path) == Hit(key, key, parameters)


def test_without_a_default_route_there_may_be_none() -> None:
    assert route({"POST /predict": "f"}, "GET", "/predict") is None
    assert route({"GET /a.b": "f"}, "GET", "/axb") is None


@pytest.mark.parametrize(
    ("stages", "path", "found"),
    [
        (("$default",), "/predict", ("$default", "/predict")),
        (("$default", "beta"), "/beta/predict", ("beta", "/predict")),
        (("beta",), "/predict", (None, "/predict")),
        ((), "/", (None, "/")),
    ],
)
def test_stages_are_the_first_part_of_paths(
    stages: tuple[str, ...], path: str, found: tuple[str | None, str]
) -> None:
    assert stage_and_path(stages, path) == found


def request(path: str = "/predict?a=1&a=2&b=x", data: bytes = b"", **headers: str) -> Request:
    builder = EnvironBuilder(
        path, "http://abc.execute-api.us-east-1.amazonaws.com", method="POST", data=data, headers=headers
    )
    return Request(builder.get_environ())


def api(**given: object) -> Api:
    fields = {"id": "abc", "region": "us-east-1", "account": "123456789012", "stages": ("$default",)}
    return Api(**{**fields, "routes": {"POST /predict": "arn:f"}, **given})  # type: ignore[arg-type]


def test_an_event_tells_the_whole_request() -> None:
    asked = request(
        data=b'{"x": 1}', **{"Content-Type": "application/json", "Cookie": "a=b; c=d", "X-Y": "z"}
    )
    event = event_of(api(), "$default", Hit("POST /predict", "arn:f", {"id": "7"}), asked, "203.0.113.7")
    assert event["body"] == '{"x": 1}'
    assert event["isBase64Encoded"] is False
    assert event["cookies"] == ["a=b", "c=d"]
    assert event["queryStringParameters"] == {"a": "1,2", "b": "x"}
    assert event["rawQueryString"] == "a=1&a=2&b=x"
    assert event["pathParameters"] == {"id": "7"}
    assert (event["headers"]["x-y"], "cookie" in event["headers"]) == ("z", False)
    http = event["requestContext"]["http"]
    assert (http["method"], http["path"], http["sourceIp"]) == ("POST", "/predict", "203.0.113.7")
    binary = event_of(
        api(),
        "$default",
        Hit("$default", "f", {}),
        request(data=b"\xff", **{"Content-Type": "image/png"}),
        "",
    )
    assert (binary["body"], binary["isBase64Encoded"]) == ("/w==", True)


@pytest.mark.parametrize(
    ("result", "status", "body", "kind"),
    [
        (
            {"statusCode": 201, "headers": {"content-type": "text/html"}, "body": "<p>"},
            201,
            b"<p>",
            "text/html",
        ),
        (
            {"statusCode": 200, "body": "aGk=", "isBase64Encoded": True},
            200,
            b"hi",
            "text/plain; charset=utf-8",
        ),
        ({"chance": 0.7}, 200, b'{"chance": 0.7}', "application/json"),
        ("words", 200, b"words", "application/json"),
        ({"statusCode": "no"}, 500, b'{"message": "Internal Server Error"}', "application/json"),
        (
            {"statusCode": 200, "body": "%", "isBase64Encoded": True},
            500,
            b'{"message": "Internal Server Error"}',
            "application/json",
        ),
    ],
)
def test_what_a_function_gives_becomes_an_answer(result: object, status: int, body: bytes, kind: str) -> None:
    answer = answer_of(json.dumps(result).encode())
    assert (answer.status_code, answer.get_data(), answer.headers["Content-Type"]) == (status, body, kind)


def test_cookies_of_an_answer_are_headers_each() -> None:
    answer = answer_of(json.dumps({"statusCode": 200, "cookies": ["a=b", "c=d"]}).encode())
    assert answer.headers.getlist("Set-Cookie") == ["a=b", "c=d"]


def test_pages_of_other_sites_are_let_in_as_asked() -> None:
    cors = {
        "allowOrigins": ["https://a.org"],
        "allowMethods": ["GET"],
        "maxAge": 60,
        "allowCredentials": True,
    }
    assert cors_headers(cors, "https://b.org", preflight=True) == {}
    assert cors_headers(cors, "https://a.org", preflight=True) == {
        "Access-Control-Allow-Origin": "https://a.org",
        "Access-Control-Allow-Credentials": "true",
        "Access-Control-Allow-Methods": "GET",
        "Access-Control-Allow-Headers": "",
        "Access-Control-Max-Age": "60",
    }


FUNCTION = Function("f", "arn:f", "$LATEST", "main.handler", "python3.12", 3, 128, {}, "us-east-1")


@pytest.mark.parametrize(
    ("host", "allowed", "error", "status", "message"),
    [
        ("abc", True, "", 200, None),
        ("other", True, "", 404, "Not Found"),
        ("abc", False, "", 500, "Internal Server Error"),
        ("abc", True, "Unhandled", 500, "Internal Server Error"),
    ],
)
def test_the_front_answers_as_api_gateway(
    host: str, allowed: bool, error: str, status: int, message: str | None
) -> None:
    asked: list[tuple[str, str]] = []

    def may(function: Function, principal: str, source: str) -> bool:
        asked.append((principal, source))
        return allowed

    front = Front(
        lambda region, id: api() if (region, id) == ("us-east-1", "abc") else None,
        lambda region, arn: FUNCTION,
        may,
        lambda function, event: Outcome(b'{"ok": true}', error),
    )
    builder = EnvironBuilder("/predict", f"http://{host}.execute-api.us-east-1.amazonaws.com", method="POST")
    answer = front._answer(Request(builder.get_environ()))
    assert answer.status_code == status
    assert json.loads(answer.get_data()).get("message") == message
    if host == "abc":
        source = "arn:aws:execute-api:us-east-1:123456789012:abc/$default/POST/predict"
        assert asked == [("apigateway.amazonaws.com", source)]


def test_an_integration_names_its_function_in_two_forms() -> None:
    arn = "arn:aws:lambda:us-east-1:123456789012:function:f"
    path = f"arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/{arn}/invocations"
    assert function_of(arn) == function_of(path) == arn
