"""Functions of Lambda, HTTP APIs and images in ECR: what is special about them."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from pydantic import ValidationError

from engine.aws.errors import AwsError
from engine.docker import Docker
from engine.errors import HalfMade, StepFailed, Unreachable
from engine.resources._archives import tar_of, zip_of
from engine.resources.aws.api_gateway import ApiGateway
from engine.resources.aws.lambda_functions import LambdaFunction
from engine.resources.ecr.images import EcrImage
from engine.resources.ecr.repositories import EcrRepository
from tests.kinds.aws_examples.ecr import a_folder, a_repository
from tests.kinds.aws_examples.functions import ECHO, a_function, a_role, a_zip
from tests.kinds.aws_stage import Stage

ROLE = "arn:aws:iam::123456789012:role/x"


def invoked(client: Any, arn: str, event: object = None, **given: Any) -> tuple[Any, Any]:
    answer = client("lambda").invoke(FunctionName=arn, Payload=json.dumps(event or {}), **given)
    return json.load(answer["Payload"]), answer


# -- running -------------------------------------------------------------------------------------------------


def test_a_function_runs(stage: Stage, client: Any) -> None:
    arn = a_function(stage)
    told, answer = invoked(client, arn, {"a": 1}, LogType="Tail")
    assert told == {"got": {"a": 1}, "by": f"{stage.lab}-echo"}
    assert "FunctionError" not in answer
    assert answer["LogResult"]
    assert client("lambda").invoke(FunctionName=arn, InvocationType="DryRun")["StatusCode"] == 204
    assert client("lambda").invoke(FunctionName=arn, InvocationType="Event")["StatusCode"] == 202


def test_new_code_runs_at_once_and_each_function_runs_its_own(stage: Stage, client: Any) -> None:
    one, two = a_function(stage), a_function(stage, "other", "def handler(e, c): return 'two'")
    assert invoked(client, two)[0] == "two"
    assert invoked(client, one)[0]["by"] == f"{stage.lab}-echo"
    client("lambda").get_waiter("function_updated_v2").wait(FunctionName=two)
    code = a_zip("def handler(e, c): return 'three'").path.read_bytes()
    client("lambda").update_function_code(FunctionName=two, ZipFile=code)
    assert invoked(client, two)[0] == "three"


@pytest.mark.parametrize(
    ("text", "sort", "words"),
    [
        ("def handler(e, c): raise ValueError('too small')", "ValueError", "too small"),
        ("import nothing_like_it", "Runtime.ImportModuleError", "No module named 'nothing_like_it'"),
        ("def other(e, c): pass", "Runtime.HandlerNotFound", "Handler 'handler' missing on module 'main'"),
        ("def handler(e, c): return {1, 2}", "Runtime.MarshalError", "not JSON serializable"),
    ],
)
def test_a_function_that_fails_says_how(stage: Stage, client: Any, text: str, sort: str, words: str) -> None:
    told, answer = invoked(client, a_function(stage, text=text))
    assert answer["FunctionError"] == "Unhandled"
    assert told["errorType"] == sort
    assert words in told["errorMessage"]


def test_a_function_that_takes_too_long_is_ended(stage: Stage, client: Any) -> None:
    arn = a_function(
        stage, text="import time\ndef handler(e, c): time.sleep(e.get('for', 0)); return 'done'", timeout=1
    )
    assert invoked(client, arn)[0] == "done"
    told, _ = invoked(client, arn, {"for": 30})
    assert "Task timed out after 1.00 seconds" in told["errorMessage"]
    assert invoked(client, arn)[0] == "done"


def test_a_function_may_ask_aws(stage: Stage, client: Any) -> None:
    text = "import boto3\ndef handler(e, c): return boto3.client('sts').get_caller_identity()['Account']"
    assert invoked(client, a_function(stage, text=text, timeout=30))[0] == "123456789012"


# -- kinds ---------------------------------------------------------------------------------------------------


def test_a_role_must_trust_lambda(stage: Stage) -> None:
    given = {"name": f"{stage.lab}-f", "role": f"arn:aws:iam::123456789012:role/{stage.lab}-none"}
    function = LambdaFunction.model_validate(
        {**given, "runtime": "python3.12", "handler": "main.handler", "zip_file": a_zip()}
    )
    started = time.monotonic()
    world = stage.world()
    ticks = iter(range(0, 10_000, 20))
    world.aws._clock, world.aws._sleep = lambda: float(next(ticks)), lambda seconds: None
    with pytest.raises(AwsError, match="cannot be assumed by Lambda"):
        function.create(world)
    assert len([one for one in world.aws.requests if one[1] == "create_function"]) > 1, "it insists"
    assert time.monotonic() - started < 20


def test_a_name_that_is_taken_is_left_alone(stage: Stage) -> None:
    a_function(stage)
    same = LambdaFunction.model_validate(
        {
            "name": f"{stage.lab}-echo",
            "role": a_role(stage, "second"),
            "runtime": "python3.12",
            "handler": "main.handler",
            "zip_file": a_zip(),
        }
    )
    with pytest.raises(StepFailed, match="is there already, and this resource did not make it"):
        same.create(stage.world())
    stage.make(EcrRepository(name=f"{stage.lab}/taken"))
    with pytest.raises(StepFailed, match="is there already, and this resource did not make it"):
        EcrRepository(name=f"{stage.lab}/taken").create(stage.world())


def test_code_that_others_have_put_there_is_seen(stage: Stage, client: Any) -> None:
    arn = a_function(stage)
    code = a_zip("def handler(e, c): return 0").path.read_bytes()
    client("lambda").get_waiter("function_updated_v2").wait(FunctionName=arn)
    client("lambda").update_function_code(FunctionName=arn, ZipFile=code)
    there = LambdaFunction.read_many(stage.world(), [f"{stage.lab}-echo"])[f"{stage.lab}-echo"]
    assert there["zip_file"] is None
    assert (
        LambdaFunction.describe_difference("zip_file", "sha256:x", None)
        == "its code is not what labctl has put there"
    )


def test_a_log_group_of_others_stays(stage: Stage, client: Any) -> None:
    group = f"/aws/lambda/{stage.lab}-echo"
    client("logs").create_log_group(logGroupName=group)
    a_function(stage)
    LambdaFunction.delete(stage.world(), f"{stage.lab}-echo")
    [left] = client("logs").describe_log_groups(logGroupNamePrefix=group)["logGroups"]
    assert left["logGroupName"] == group
    client("logs").delete_log_group(logGroupName=group)


def test_zip_and_tar_are_the_same_whenever_they_are_made() -> None:
    folder = a_folder()
    assert zip_of(folder) == zip_of(folder)
    assert tar_of(folder) == tar_of(folder)


def test_an_api_without_its_permission_is_seen_and_mended(stage: Stage, client: Any) -> None:
    arn = a_function(stage)
    api = ApiGateway(name=stage.lab, routes={"$default": arn})
    there = stage.make(api, "api")
    client("lambda").remove_permission(FunctionName=arn, StatementId=f"labctl-{there['id']}")
    drifted = ApiGateway.read_many(stage.world("api"), [there["id"]])[there["id"]]
    assert drifted["routes"] == {"$default": f"{arn} (API Gateway may not invoke it)"}
    api.update(stage.world("api"), there["id"], frozenset({"routes"}))
    assert ApiGateway.read_many(stage.world("api"), [there["id"]])[there["id"]]["routes"] == {"$default": arn}
    client("lambda").delete_function(FunctionName=arn)
    ApiGateway.delete(stage.world("api"), there["id"])


def test_an_image_of_others_is_neither_overwritten_nor_deleted(stage: Stage, client: Any) -> None:
    repository = a_repository(stage, force_absent=True)
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
        "config": {"digest": "sha256:" + "0" * 64, "size": 2},
        "layers": [],
    }
    client("ecr").put_image(repositoryName=repository, imageManifest=json.dumps(manifest), imageTag="v1")
    image = EcrImage.model_validate({"repository": repository, "tag": "v1", "build": {"path": a_folder()}})
    with pytest.raises(StepFailed, match="v1 is there already, and this resource did not push it"):
        image.create(stage.world())
    EcrImage.delete(stage.world(), f"{repository}:v1")
    assert len(client("ecr").describe_images(repositoryName=repository)["imageDetails"]) == 1


def test_a_repository_with_images_goes_only_when_asked(stage: Stage) -> None:
    repository = a_repository(stage)
    stage.make(EcrImage.model_validate({"repository": repository, "build": {"path": a_folder()}}), "image")
    with pytest.raises(StepFailed, match="still holds images"):
        EcrRepository.delete(stage.world("repository"), repository)


def test_in_a_repository_with_immutable_tags_the_tag_must_change(stage: Stage) -> None:
    repository = a_repository(stage, image_tag_mutability="immutable")
    given = {"repository": repository, "tag": "v1", "build": {"path": a_folder()}}
    stage.make(EcrImage.model_validate(given), "image")
    again = EcrImage.model_validate({**given, "build": {"path": a_folder(), "args": {"X": "2"}}})
    with pytest.raises(StepFailed, match="immutable") as refused:
        again.update(stage.world("image"), f"{repository}:v1", frozenset({"build"}))
    assert "write another `tag`" in refused.value.remedy
    images = stage.aws.pages("ecr", "describe_images", "imageDetails", repositoryName=repository)
    assert len(images) == 1, "what was pushed in vain is gone"


def test_without_an_engine_nothing_is_pushed_and_deleting_needs_none(stage: Stage) -> None:
    repository = a_repository(stage)
    image = EcrImage.model_validate({"repository": repository, "build": {"path": a_folder()}})
    stage.make(image, "image")
    nobody = Docker("tcp://127.0.0.1:9")
    stage.docker, engine = nobody, stage.docker
    other = EcrImage.model_validate({"repository": repository, "tag": "v2", "build": {"path": a_folder()}})
    with pytest.raises(Unreachable, match=r"no Docker Engine answers at tcp://127\.0\.0\.1:9"):
        other.create(stage.world("other"))
    EcrImage.delete(stage.world("image"), f"{repository}:latest")
    assert EcrImage.read_many(stage.world("image"), [f"{repository}:latest"]) == {}
    stage.docker = engine


def test_a_repository_whose_policy_is_refused_is_remembered(stage: Stage) -> None:
    rules = {"rules": [{"rulePriority": 1, "selection": {"tagStatus": "odd"}, "action": {"type": "expire"}}]}
    with pytest.raises(HalfMade) as half:
        EcrRepository(name=f"{stage.lab}/half", lifecycle_policy=rules).create(stage.world())
    assert half.value.id == f"{stage.lab}/half"
    EcrRepository.delete(stage.world(), half.value.id)


@pytest.mark.parametrize(
    ("kind", "given", "words"),
    [
        (LambdaFunction, {"name": "a b", "role": ROLE}, "should match pattern"),
        (LambdaFunction, {"name": "f", "role": ROLE}, "one of `src` (a folder), `zip_file` or `image_uri`"),
        (LambdaFunction, {"name": "f", "role": ROLE, "zip_file": "Z"}, "needs `runtime` and `handler`"),
        (
            LambdaFunction,
            {"name": "f", "role": ROLE, "image_uri": "x/y:1", "runtime": "python3.12"},
            "an image says itself what runs: leave out runtime",
        ),
        (
            LambdaFunction,
            {"name": "f", "role": ROLE, "image_uri": "x/y:1", "vpc_subnet_ids": ["subnet-1"]},
            "vpc_subnet_ids and vpc_security_group_ids go together",
        ),
        (
            LambdaFunction,
            {"name": "f", "role": ROLE, "image_uri": "x/y:1", "environment_variables": {"AWS_REGION": "x"}},
            "`AWS_REGION` is set by Lambda itself",
        ),
        (
            LambdaFunction,
            {"name": "f", "role": ROLE, "image_uri": "x/y:1", "timeout": 901},
            "less than or equal to 900",
        ),
        (ApiGateway, {"name": "a", "routes": {"GET predict": "x"}}, "`GET predict` is no route"),
        (ApiGateway, {"name": "a", "routes": {"$default": "f"}}, "must lead to the ARN of a function"),
        (
            ApiGateway,
            {
                "name": "a",
                "routes": {"$default": "arn:aws:lambda:us-east-1:123456789012:function:f"},
                "cors_configuration": {"allow_origins": ["*"], "allow_credentials": True},
            },
            "allow_credentials needs named allow_origins",
        ),
        (EcrRepository, {"name": "Upper"}, "should match pattern"),
        (
            EcrRepository,
            {"name": "ok", "lifecycle_policy": {"rules": [{}]}},
            "rule 1 of the lifecycle policy needs",
        ),
        (
            EcrRepository,
            {"name": "ok", "encryption_configuration": {"kms_key": "arn"}},
            "needs encryption_type: KMS",
        ),
        (EcrImage, {"repository": "r", "tag": "labctl-x"}, "tags that begin with labctl- are labctl's own"),
    ],
)
def test_what_is_wrong_is_said(kind: Any, given: dict[str, Any], words: str) -> None:
    if given.get("zip_file") == "Z":
        given = {**given, "zip_file": a_zip(ECHO)}
    with pytest.raises(ValidationError) as wrong:
        kind.model_validate(given)
    assert words in str(wrong.value)


def test_a_permission_is_given_once(stage: Stage, client: Any) -> None:
    arn = a_function(stage)
    api = ApiGateway(name=stage.lab, routes={"$default": arn})
    made = stage.make(api, "api")
    api.update(stage.world("api"), made["id"], frozenset({"routes"}))
    policy = json.loads(client("lambda").get_policy(FunctionName=arn)["Policy"])
    assert [statement["Sid"] for statement in policy["Statement"]] == [f"labctl-{made['id']}"]


def test_a_function_finds_the_packages_of_its_layers(stage: Stage, client: Any) -> None:
    packed = a_zip("WORD = 'from the layer'", "python/words_of_mine.py").path.read_bytes()
    layer = client("lambda").publish_layer_version(LayerName=stage.lab, Content={"ZipFile": packed})
    text = "import words_of_mine\ndef handler(e, c): return words_of_mine.WORD"
    layers = [{"layer_version_arn": layer["LayerVersionArn"]}]
    assert invoked(client, a_function(stage, text=text, layers=layers))[0] == "from the layer"


def test_the_flask_service_runs_from_a_folder_without_an_image(stage: Stage, client: Any) -> None:
    function = LambdaFunction.model_validate(
        {
            "name": f"{stage.lab}-flask",
            "role": a_role(stage, "flask"),
            "runtime": "python3.12",
            "handler": "handler.handler",
            "src": a_folder(),
            "timeout": 30,
        }
    )
    arn = stage.make(function, "flask")["arn"]
    http = {"method": "POST", "path": "/predict", "sourceIp": "203.0.113.7"}
    body = {"gre_score": 300, "toefl_score": 100, "university_rating": 4, "sop": 3, "lor": 4, "cgpa": 8.9}
    event = {
        "rawPath": "/predict",
        "headers": {"content-type": "application/json"},
        "requestContext": {"http": http},
        "body": json.dumps({**body, "research": "Yes"}),
    }
    told, _ = invoked(client, arn, event)
    assert (told["statusCode"], json.loads(told["body"])) == (200, {"chance_of_admission": 0.7343})
