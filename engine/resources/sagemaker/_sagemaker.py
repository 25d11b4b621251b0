"""What the kinds of SageMaker share: names, reading, tags, waiting, algorithms and prices."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final

from pydantic import AfterValidator, Field, field_validator

from engine.aws.errors import AwsError
from engine.aws.tags import narrow, readable, tag_list, tags_for, told_tags
from engine.by_hand import json_word, told, word
from engine.errors import StepFailed
from engine.refs import Unknown
from engine.resource import Fields, Fixed, Id, Values, plain
from engine.resources.aws._aws import as_text, iam_actions, once_propagated, ours, seconds
from engine.resources.aws._tagging import TaggedByArn, Tagging

if TYPE_CHECKING:
    from engine.world import World

_NAME: Final = re.compile(r"[A-Za-z0-9](-*[A-Za-z0-9]){0,62}")
_MISSING: Final = re.compile(
    r"could not find|recordnotfound|not found|does not exist|cannot find", re.IGNORECASE
)
_INSTANCE: Final = re.compile(r"ml\.[a-z0-9-]+\.[a-z0-9]+")
_S3: Final = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/.*)?")
_ROLE: Final = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/.+")

_FIRST_PARTY: Final[Mapping[str, str]] = {
    "ap-east-1": "286214385809",
    "ap-northeast-1": "351501993468",
    "ap-northeast-2": "835164637446",
    "ap-south-1": "991648021394",
    "ap-southeast-1": "475088953585",
    "ap-southeast-2": "712309505854",
    "ca-central-1": "469771592824",
    "eu-central-1": "664544806723",
    "eu-north-1": "669576153137",
    "eu-west-1": "438346466558",
    "eu-west-2": "644912444149",
    "eu-west-3": "749696950732",
    "me-south-1": "249704162688",
    "sa-east-1": "855470959533",
    "us-east-1": "382416733822",
    "us-east-2": "404615174143",
    "us-west-1": "632365934929",
    "us-west-2": "174872318107",
}
"""The account whose registry holds the images of AWS's own algorithms, by region.

https://docs.aws.amazon.com/sagemaker/latest/dg-ecr-paths/
"""
_OTHER_REGISTRIES: Final = (
    "# The image is us-east-1's; other regions: https://docs.aws.amazon.com/sagemaker/latest/dg-ecr-paths/"
)
"""What is said before a command by hand with the image of one of AWS's own algorithms."""
ALGORITHMS: Final = (
    "factorization-machines",
    "ipinsights",
    "kmeans",
    "knn",
    "linear-learner",
    "ntm",
    "object2vec",
    "pca",
    "randomcutforest",
)

_PRICES: Final[Mapping[str, float]] = {
    "ml.t2.medium": 0.0464,
    "ml.t2.large": 0.1,
    "ml.t3.medium": 0.05,
    "ml.t3.large": 0.1,
    "ml.t3.xlarge": 0.2,
    "ml.t3.2xlarge": 0.399,
    "ml.c5.large": 0.102,
    "ml.c5.xlarge": 0.204,
    "ml.c5.2xlarge": 0.408,
    "ml.m4.xlarge": 0.24,
    "ml.m5.large": 0.115,
    "ml.m5.xlarge": 0.23,
    "ml.m5.2xlarge": 0.461,
    "ml.m5.4xlarge": 0.922,
    "ml.g4dn.xlarge": 0.7364,
    "ml.g5.xlarge": 1.408,
    "ml.p2.xlarge": 1.125,
    "ml.p3.2xlarge": 3.825,
}
"""USD per hour in us-east-1; other regions differ by some tenths."""


def price(instance_type: Any, count: Any = 1) -> float | None:
    """USD per hour of `count` instances; None where it is not known."""
    each = _PRICES.get(instance_type) if isinstance(instance_type, str) else None
    return each * count if each is not None and isinstance(count, int) else None


def image(world: World, algorithm: str) -> str:
    """The image of one of AWS's own algorithms in the region. Raises StepFailed where it is not offered."""
    account = _FIRST_PARTY.get(world.aws.region)
    if account is None:
        raise StepFailed(
            f"where AWS keeps the image of {algorithm} in {world.aws.region} is not known here",
            "write the image itself in place of `algorithm`; AWS's page of registry paths has it",
        )
    return f"{account}.dkr.ecr.{world.aws.region}.amazonaws.com/{algorithm}:1"


def image_by_hand(chosen: Any, algorithm: str | None) -> tuple[list[str], Any]:
    """Remarks, and the image that is chosen, or else that of one of AWS's own algorithms in us-east-1.

    Commands by hand do not know the region.
    """
    if algorithm is None:
        return [], chosen
    own = f"{_FIRST_PARTY['us-east-1']}.dkr.ecr.us-east-1.amazonaws.com/{algorithm}:1"
    return [_OTHER_REGISTRIES], own


def algorithm_of(image_uri: str) -> str | None:
    """The algorithm of AWS's own that an image is; None for any other image."""
    registry, _, rest = image_uri.partition(".dkr.ecr.")
    name = rest.rpartition("/")[2].partition(":")[0]
    return name if registry in _FIRST_PARTY.values() and name in ALGORITHMS else None


def _checked_instance(value: str) -> str:
    if not _INSTANCE.fullmatch(value):
        raise ValueError(f"`{value}` is not an instance type of SageMaker: they begin with ml., ml.t3.medium")
    return value


def _checked_s3(value: str) -> str:
    if not _S3.fullmatch(value):
        raise ValueError(f"`{value}` is not a place in S3: write s3://BUCKET/PREFIX")
    return value


def _checked_role(value: str) -> str:
    if not _ROLE.fullmatch(value):
        raise ValueError(f'`{value}` is not the ARN of a role: write "{{{{ role.arn }}}}" of an iam_role')
    return value


InstanceType = Annotated[str, AfterValidator(_checked_instance)]
"""The name of an instance type of SageMaker's."""
S3Place = Annotated[str, AfterValidator(_checked_s3)]
"""A place in S3."""
RoleArn = Annotated[Id, AfterValidator(_checked_role)]
"""The ARN of a role."""


class Vpc(Fields):
    """The network that a job or endpoint runs in."""

    subnets: list[Id] = Field(min_length=1, max_length=16)
    """Its subnets."""
    security_group_ids: list[Id] = Field(min_length=1, max_length=5)
    """Its security groups."""


def vpc_asked(vpc: Vpc | None) -> dict[str, Any]:
    """VpcConfig of a request."""
    if vpc is None:
        return {}
    return {"VpcConfig": {"Subnets": plain(vpc.subnets), "SecurityGroupIds": plain(vpc.security_group_ids)}}


def vpc_seen(described: Mapping[str, Any]) -> dict[str, Any] | None:
    """VpcConfig of an answer."""
    found = described.get("VpcConfig")
    if not found:
        return None
    return {"subnets": found.get("Subnets", []), "security_group_ids": found.get("SecurityGroupIds", [])}


def texts(values: Any) -> Any:
    """Hyperparameters and environments as AWS takes them: all texts."""
    if isinstance(values, Unknown) or values is None:
        return values
    return {key: as_text(value) for key, value in values.items()}


class InSagemaker(TaggedByArn):
    """What all kinds of SageMaker have in common: a name, an ARN, tags that change in place."""

    tagging: ClassVar[Tagging] = Tagging("sagemaker", "add_tags", "delete_tags", "ResourceArn")
    noun: ClassVar[str] = ""
    """What requests call it: `training_job` for DescribeTrainingJob."""

    name: Fixed[str]
    """One of its kind in the account and region: letters, digits and -, at most 63."""

    @field_validator("name")
    @classmethod
    def _named(cls, value: str) -> str:
        if not (len(value) <= 63 and _NAME.fullmatch(value)):
            raise ValueError(
                f"`{value}` cannot be a name in SageMaker: letters, digits and - in between, at most 63"
            )
        return value

    def foreseen(self) -> str | None:
        """Its name."""
        return None if isinstance(self.name, Unknown) else self.name

    @classmethod
    def differs(cls, name: str, wanted: Any, there: Any) -> bool:
        """Environments are all texts."""
        return bool((texts(wanted) if name == "environment" else wanted) != there)

    @classmethod
    def camel(cls) -> str:
        """The noun in AWS's spelling: `TrainingJob`."""
        return "".join(part.capitalize() for part in cls.noun.split("_"))

    @classmethod
    def described(cls, world: World, name: str) -> dict[str, Any] | None:
        """DescribeNOUN of one; None where there is none."""
        try:
            return ask(world, f"describe_{cls.noun}", **{f"{cls.camel()}Name": name})
        except AwsError as error:
            if missing(error):
                return None
            raise

    def made(self, world: World, **params: Any) -> str:
        """CreateNOUN with tags; a role that IAM made a moment ago is waited for. Its name."""
        name = self.name_for(world)
        asked = {f"{self.camel()}Name": name, "Tags": tag_list(narrow(tags_for(world))), **params}
        once_propagated(world, lambda: world.aws.call("sagemaker", f"create_{self.noun}", **asked))
        return name

    def name_for(self, world: World) -> str:
        """What the one that `world.job` makes is called."""
        return self.name

    @classmethod
    def seen(cls, described: Mapping[str, Any]) -> Values:
        """An answer of DescribeNOUN in the playbook's words."""
        raise NotImplementedError(cls.kind)

    @classmethod
    def read_many(cls, world: World, ids: Sequence[str]) -> dict[str, Values]:
        """DescribeNOUN and ListTags for each: lists tell neither settings nor tags."""
        found = {}
        for name in sorted(set(ids)):
            described = cls.described(world, name)
            if described is None:
                continue
            arn = described[f"{cls.camel()}Arn"]
            found[name] = {
                "id": name,
                "name": name,
                "arn": arn,
                **cls.seen(described),
                "tags": readable(tags_by_arn(world, arn)),
            }
        return found

    @classmethod
    def find(cls, world: World) -> list[str]:
        """What bears the foreseen name, where it bears the job's tags."""

        def tags_of(name: str) -> dict[str, str] | None:
            described = cls.described(world, name)
            return None if described is None else tags_by_arn(world, described[f"{cls.camel()}Arn"])

        return ours(world, tags_of)

    @classmethod
    def removed(cls, world: World, name: str) -> bool:
        """DeleteNOUN; False where it is gone already."""
        try:
            ask(world, f"delete_{cls.noun}", **{f"{cls.camel()}Name": name})
        except AwsError as error:
            if missing(error):
                return False
            raise
        return True

    @classmethod
    def at_rest(cls, world: World, name: str, moving: Sequence[str], timeout: float, what: str) -> str | None:
        """The status it comes to rest in, once it is none of `moving`; None where it is gone."""
        key = f"{cls.camel()}Status"

        def look() -> tuple[str | None] | None:
            described = cls.described(world, name)
            status = described[key] if described else None
            return None if status in moving else (status,)

        return world.aws.poll(look, what=what, timeout=seconds(world, timeout), say=world.job.say)[0]

    @classmethod
    def reason(cls, world: World, name: str) -> str:
        """Why AWS says that it failed."""
        described = cls.described(world, name) or {}
        return str(described.get("FailureReason") or "AWS gives no reason")

    def by_hand(self, action: str, id: str | None, request: Callable[[], Mapping[str, Any]]) -> list[str]:
        """`aws sagemaker create-NOUN` with its whole request, or `delete-NOUN`."""
        noun = self.noun.replace("_", "-")
        if action == "delete":
            return [f"aws sagemaker delete-{noun} --{noun}-name {word(id or '')}"]
        whole = {f"{self.camel()}Name": plain(self.name), **request()}
        return [f"aws sagemaker create-{noun} --cli-input-json {json_word(whole)}"]

    def told_by_hand(self, **more: str) -> list[str]:
        """`aws sagemaker describe-NOUN` for what later commands need; `more` has the JMESPath of outputs."""
        noun, camel = self.noun.replace("_", "-"), self.camel()
        queries = {"id": f"{camel}Name", "arn": f"{camel}Arn", "status": f"{camel}Status", **more}
        return told(self, f"aws sagemaker describe-{noun} --{noun}-name {word(self.name)}", queries)


def actions(noun: str, more: str = "") -> tuple[str, ...]:
    """The IAM actions of a kind named so (`TrainingJob`), and `more` of SageMaker's."""
    own = f"Create{noun} Describe{noun} Delete{noun} AddTags DeleteTags ListTags {more}"
    return iam_actions("sagemaker", own)


def ask(world: World, operation: str, **params: Any) -> dict[str, Any]:
    """A request that may be sent twice without harm."""
    return world.aws.call("sagemaker", operation, retry=True, **params)


def tags_by_arn(world: World, arn: str) -> dict[str, str]:
    """All tags of a thing, as they were meant (ListTags)."""
    return told_tags(world.aws.pages("sagemaker", "list_tags", "Tags", ResourceArn=arn))


def missing(error: AwsError) -> bool:
    """Whether what was asked for is not there; SageMaker says so in the words of a ValidationException."""
    return error.not_found or (error.code == "ValidationException" and bool(_MISSING.search(error.said)))


def check_image(chosen: Any, algorithm: Any, field: str) -> None:
    """Raises ValueError in words unless one of an image and an algorithm is given."""
    if (chosen is None) == (algorithm is None):
        raise ValueError(f"write either {field} or algorithm ({', '.join(ALGORITHMS)})")
    if isinstance(algorithm, str) and algorithm not in ALGORITHMS:
        raise ValueError(f"`{algorithm}` is not an algorithm of AWS's own: {', '.join(ALGORITHMS)}")
