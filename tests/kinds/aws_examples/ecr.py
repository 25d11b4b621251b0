"""An example of each kind of ECR."""

from __future__ import annotations

from pathlib import Path

from engine.local_files import LocalFolder, PlaybookFiles
from engine.resource import Resource
from engine.resources.ecr.images import EcrImage
from engine.resources.ecr.repositories import EcrRepository
from tests.kinds.aws_examples import Example
from tests.kinds.aws_stage import Stage

TEMPLATES = Path(__file__).parents[3] / "templates"
RULES = {
    "rules": [
        {
            "rulePriority": 1,
            "selection": {
                "tagStatus": "untagged",
                "countType": "sinceImagePushed",
                "countUnit": "days",
                "countNumber": 1,
            },
            "action": {"type": "expire"},
        }
    ]
}
PULLING = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Sid": "pull",
            "Effect": "Allow",
            "Principal": {"AWS": "arn:aws:iam::123456789012:root"},
            "Action": ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"],
        }
    ],
}


def a_repository(stage: Stage, **fields: object) -> str:
    given = {"name": f"{stage.lab}/app", **fields}
    return str(stage.make(EcrRepository.model_validate(given), "repository")["id"])


def a_folder(name: str = "flask_app") -> LocalFolder:
    return LocalFolder.found(name, PlaybookFiles((TEMPLATES,)))


def repository(stage: Stage) -> tuple[Resource, Resource | None]:
    name = f"{stage.lab}/first"
    first = {"name": name, "scan_on_push": True, "lifecycle_policy": RULES, "force_absent": True}
    first["encryption_configuration"] = {"encryption_type": "AES256"}
    second = {
        "name": name,
        "image_tag_mutability": "immutable",
        "scan_on_push": False,
        "policy": PULLING,
        "lifecycle_policy": None,
        "force_absent": False,
    }
    return EcrRepository.model_validate(first), EcrRepository.model_validate(second)


def image(stage: Stage) -> tuple[Resource, Resource | None]:
    given = {"repository": a_repository(stage), "tag": "v1", "build": {"path": a_folder()}}
    again = {**given, "build": {"path": a_folder(), "args": {"STAGE": "two"}}}
    return EcrImage.model_validate(given), EcrImage.model_validate(again)


EXAMPLES: dict[str, Example] = {"ecr_repository": repository, "ecr_image": image}
