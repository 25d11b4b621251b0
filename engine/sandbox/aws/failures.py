"""Failures inside moto come back as AWS's own error document, not as a page of HTML.

The SDKs can read it, retry it, and show its code; HTML they cannot.
"""

from __future__ import annotations

import json
from typing import Any
from xml.sax.saxutils import escape

from moto.backends import SERVICE_NAMES
from moto.moto_server.werkzeug_app import create_backend_app

_JSON = frozenset(
    {
        "apigatewayv2",
        "budgets",
        "cloudtrail",
        "dynamodb",
        "ecr",
        "ecs",
        "efs",
        "eks",
        "events",
        "lambda",
        "logs",
        "sagemaker",
        "secretsmanager",
        "servicequotas",
        "sqs",
        "ssm",
        "stepfunctions",
    }
)
"""Services whose errors are JSON."""
_EC2 = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<Response><Errors><Error><Code>{code}</Code>'
    "<Message>{message}</Message></Error></Errors><RequestID>sandbox</RequestID></Response>"
)
_QUERY = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code>'
    "<Message>{message}</Message></Error><RequestId>sandbox</RequestId></ErrorResponse>"
)
_S3 = '<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>'


def document(service: str, code: str, message: str, *, json_body: bool = False) -> tuple[str, str]:
    """The error document of `service` for `code`, and its content type."""
    if json_body:
        return json.dumps({"__type": code, "message": message}), "application/x-amz-json-1.1"
    form = {"ec2": _EC2, "s3": _S3}.get(service, _QUERY)
    return form.format(code=escape(code), message=escape(message)), "text/xml"


def create_app(service: SERVICE_NAMES) -> Any:
    """moto's application for `service`, with its failures told as InternalError."""
    app = create_backend_app(service)
    app.debug = False

    def failed(error: Any) -> tuple[str, int, dict[str, str]]:
        cause = error.original_exception or error
        # An argument that moto cannot handle stays wrong however often it is sent: not an error to retry.
        code, status = (
            ("UnsupportedOperation", 400)
            if isinstance(cause, NotImplementedError)
            else ("InternalError", 500)
        )
        body, content_type = document(
            str(service),
            code,
            f"The sandbox cannot do this: {cause or type(cause).__name__}",
            json_body=service in _JSON,
        )
        return body, status, {"Content-Type": content_type}

    app.register_error_handler(500, failed)
    return app
