"""An example of each kind around functions: Lambda and API Gateway."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from tempfile import mkdtemp

from engine.local_files import LocalFile, PlaybookFiles
from engine.resource import Resource
from engine.resources.aws.api_gateway import ApiGateway
from engine.resources.aws.lambda_functions import LambdaFunction
from engine.resources.iam.roles import IamRole
from tests.kinds.aws_examples import Example
from tests.kinds.aws_examples.ecr import a_folder
from tests.kinds.aws_stage import Stage

TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    ],
}
ECHO = """\
def handler(event, context):
    print('called')
    return {'got': event, 'by': context.function_name}
"""


def a_role(stage: Stage, name: str = "runner") -> str:
    role = IamRole.model_validate({"name": f"{stage.lab}-{name}", "assume_role_policy_document": TRUST})
    return str(stage.make(role, name)["arn"])


def a_zip(text: str = ECHO, name: str = "main.py") -> LocalFile:
    folder, packed = Path(mkdtemp()), io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(name, text)
    (folder / "code.zip").write_bytes(packed.getvalue())
    return LocalFile.found("code.zip", PlaybookFiles((folder,)))


def a_function(stage: Stage, name: str = "echo", text: str = ECHO, **fields: object) -> str:
    given = {"name": f"{stage.lab}-{name}", "role": a_role(stage, f"{name}-role"), "runtime": "python3.12"}
    code = {"handler": "main.handler", "zip_file": a_zip(text), **fields}
    return str(stage.make(LambdaFunction.model_validate({**given, **code}), name)["arn"])


def function(stage: Stage) -> tuple[Resource, Resource | None]:
    common = {"name": f"{stage.lab}-echo", "role": a_role(stage), "publish": True}
    first = {**common, "runtime": "python3.12", "handler": "main.handler", "zip_file": a_zip()}
    second = {
        **common,
        "role": a_role(stage, "another"),
        "runtime": "python3.13",
        "handler": "handler.handler",
        "src": a_folder(),
        "description": "the chance of admission",
        "memory_size": 512,
        "timeout": 20,
        "environment_variables": {"STAGE": "test"},
        "architecture": "arm64",
        "tracing_mode": "Active",
        "ephemeral_storage": 1024,
        "log_retention": None,
    }
    return LambdaFunction.model_validate(first), LambdaFunction.model_validate(second)


def api(stage: Stage) -> tuple[Resource, Resource | None]:
    echo, other = a_function(stage), a_function(stage, "other")
    first = {"name": stage.lab, "routes": {"$default": echo, "POST /predict": other}}
    second = {
        "name": f"{stage.lab}-2",
        "description": "chances",
        "routes": {"ANY /{proxy+}": echo, "GET /items/{id}": echo},
        "cors_configuration": {"allow_origins": ["*"], "allow_methods": ["GET", "POST"], "max_age": 60},
    }
    return ApiGateway.model_validate(first), ApiGateway.model_validate(second)


EXAMPLES: dict[str, Example] = {"lambda_function": function, "api_gateway": api}
