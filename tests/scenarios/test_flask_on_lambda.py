"""The Flask service on Lambda: planned, applied, asked through its HTTP API, changed, destroyed."""

from __future__ import annotations

import json

import pytest

from tests.scenarios.flask_app import POSTED
from tests.scenarios.place import Place

LAB = "flask_on_lambda@sandbox"
NAME = "flask-on-lambda-sandbox-flask"
PLAYBOOK = "playbooks/flask_on_lambda.yml"


@pytest.fixture(scope="module")
def place(place: Place) -> Place:
    """A place where the lab was planned and applied."""
    place.stand_up(PLAYBOOK)
    return place


def predicted(place: Place) -> object:
    url = place.json("output")["url"]
    done = place.curl(f"{url}predict", *POSTED)
    return json.loads(done.stdout) if done.returncode == 0 else done.stderr


def test_it_answers_the_request_of_the_document(place: Place) -> None:
    assert "Plan: 5 to add, 0 to change, 0 to destroy." in place.planned.out
    assert predicted(place) == {"chance_of_admission": 0.7343}


def test_afterwards_there_is_nothing_to_do_and_every_check_passes(place: Place) -> None:
    assert f"No changes. {LAB} matches the playbook." in place.run("plan", "--detailed-exitcode").out
    assert [check["passed"] for check in place.json("check")] == [True, True, True]


def test_the_api_shows_function_image_and_log(place: Place) -> None:
    told = place.aws("lambda").get_function(FunctionName=NAME)
    assert told["Configuration"]["State"] == "Active"
    assert told["Tags"]["labctl:lab"] == LAB
    [image] = place.aws("ecr").describe_images(repositoryName="flask-on-lambda-sandbox/flask")["imageDetails"]
    assert told["Code"]["ImageUri"].endswith(f"@{image['imageDigest']}")
    assert "latest" in image["imageTags"]

    predicted(place)
    logs, group = place.aws("logs"), f"/aws/lambda/{NAME}"
    [stream] = logs.describe_log_streams(logGroupName=group)["logStreams"]
    events = logs.get_log_events(logGroupName=group, logStreamName=stream["logStreamName"])["events"]
    assert any(event["message"].startswith("REPORT RequestId: ") for event in events)

    answer = place.aws("lambda").invoke(FunctionName=NAME, Payload=b'{"not": "a request"}')
    assert answer["FunctionError"] == "Unhandled"
    assert json.load(answer["Payload"])["errorType"] == "KeyError"


def test_it_outlives_a_restart_of_the_sandbox(place: Place) -> None:
    place.run("sandbox", "stop")
    assert "No changes." in place.run("plan", PLAYBOOK, "--detailed-exitcode").out
    place.forget_sandbox()
    assert predicted(place) == {"chance_of_admission": 0.7343}


def test_another_model_is_another_image_and_answers_at_once(place: Place) -> None:
    place.edit("templates/flask_app/model.json", '"intercept": -1.2757', '"intercept": -1.1757')
    changes = place.plan(PLAYBOOK)
    assert changes["image"]["action"] == "update"
    assert "what it is built from has changed" in changes["image"]["cause"]
    place.run("apply", PLAYBOOK, "--yes")
    assert predicted(place) == {"chance_of_admission": 0.8343}
    images = place.aws("ecr").describe_images(repositoryName="flask-on-lambda-sandbox/flask")["imageDetails"]
    assert len(images) == 1, "the image before is gone"
    assert "No changes." in place.run("plan", "--detailed-exitcode").out


def test_destroyed_nothing_is_left(place: Place) -> None:
    said = place.run("destroy", "--yes")
    assert f"Nothing of {LAB} is left" in said.out
    assert place.aws("lambda").list_functions()["Functions"] == []
    assert place.aws("apigatewayv2").get_apis()["Items"] == []
    assert place.aws("ecr").describe_repositories()["repositories"] == []
    assert place.aws("iam").list_roles()["Roles"] == []
    assert place.aws("logs").describe_log_groups()["logGroups"] == []
