"""Functions of Lambda."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, Self

from pydantic import Field, field_validator, model_validator

from engine.aws.errors import AwsError
from engine.aws.tags import is_made_by, narrow, tags_for
from engine.by_hand import aws, json_word, told, variable, word
from engine.errors import StepFailed
from engine.local_files import LocalFile, LocalFolder
from engine.refs import UNKNOWN, Unknown, holds_unknown
from engine.resource import Fields, Fixed, Id, Output, Place, Values, plain
from engine.resources._archives import zip_of
from engine.resources.aws import _logs
from engine.resources.aws._aws import finish, iam_actions, once_propagated, ours, unless_gone
from engine.resources.aws._lambda import (
    CODE,
    ask,
    await_interfaces,
    await_ready,
    found,
    settled,
    tags_seen,
    values_of,
    versions,
)
from engine.resources.aws._tagging import TaggedByArn, Tagging

if TYPE_CHECKING:
    from engine.world import World

_LARGEST_ZIP: Final = 50 * 1024 * 1024
_RUNTIME: Final = (
    r"^(python3\.\d{1,2}|nodejs\d{2}\.x|java\d{1,2}(\.al2)?|dotnet\d|ruby3\.\d|provided\.al2(023)?)$"
)
_RESERVED: Final = frozenset(
    {
        *("_HANDLER", "_X_AMZN_TRACE_ID", "AWS_DEFAULT_REGION", "AWS_REGION", "AWS_EXECUTION_ENV"),
        *("AWS_LAMBDA_FUNCTION_NAME", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "AWS_LAMBDA_FUNCTION_VERSION"),
        *("AWS_LAMBDA_INITIALIZATION_TYPE", "AWS_LAMBDA_LOG_GROUP_NAME", "AWS_LAMBDA_LOG_STREAM_NAME"),
        *("AWS_ACCESS_KEY", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
        *("AWS_LAMBDA_RUNTIME_API", "LAMBDA_TASK_ROOT", "LAMBDA_RUNTIME_DIR"),
    }
)
"""Variables that Lambda sets itself and takes from nobody."""
_SETTINGS: Final = {
    "role": "Role",
    "handler": "Handler",
    "runtime": "Runtime",
    "description": "Description",
    "timeout": "Timeout",
    "memory_size": "MemorySize",
}
_ZIPPED: Final = frozenset({"src", "zip_file"})
_OF_CODE: Final = _ZIPPED | {"image_uri", "architecture"}


class Layer(Fields):
    """A layer of packages that a function brings along."""

    layer_version_arn: Id
    """The ARN of one version of the layer."""


class LambdaFunction(TaggedByArn):
    """A function of Lambda, from a folder, a zip file or an image; with its log group.

    Of `src`, `zip_file` and `image_uri` exactly one is given. A folder is zipped as it is: packages that the
    runtime does not have must lie in it, or come by a layer or an image.
    """

    kind: ClassVar[str] = "lambda_function"
    runs_code: ClassVar[bool] = True
    tagging: ClassVar[Tagging] = Tagging("lambda", "tag_resource", "untag_resource", "Resource", form="map")
    actions: ClassVar[Sequence[str]] = (
        *iam_actions("ec2", "DescribeNetworkInterfaces DescribeSecurityGroups DescribeSubnets DescribeVpcs"),
        *iam_actions("ecr", "BatchGetImage GetDownloadUrlForLayer GetRepositoryPolicy SetRepositoryPolicy"),
        *iam_actions("iam", "PassRole"),
        *iam_actions(
            "lambda",
            "CreateFunction DeleteFunction GetFunction GetFunctionConfiguration GetLayerVersion "
            "ListTags ListVersionsByFunction "
            "PublishVersion TagResource UntagResource UpdateFunctionCode UpdateFunctionConfiguration",
        ),
        *iam_actions(
            "logs",
            "CreateLogGroup DeleteLogGroup DeleteRetentionPolicy DescribeLogGroups ListTagsForResource "
            "PutRetentionPolicy TagResource",
        ),
    )
    outputs: ClassVar[Mapping[str, Output]] = {
        "id": Output("the function's name"),
        "arn": Output("the function's ARN"),
        "version": Output("the version published last with `publish: true`, else $LATEST"),
        "code_sha256": Output("the hash that Lambda has of its code"),
        "log_group": Output("the name of its log group"),
    }

    name: Fixed[str] = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")
    """Letters, digits, - and _; at most 64."""
    role: Id
    """The ARN of the role it runs as, which must trust lambda.amazonaws.com."""
    runtime: str | None = Field(default=None, pattern=_RUNTIME)
    """`python3.12`, `nodejs22.x` …; not for an image."""
    handler: str | None = Field(default=None, pattern=r"^[^\s]{1,128}$")
    """What is called: `module.function` of Python; not for an image."""
    src: LocalFolder | None = None
    """A folder beside the playbook that is zipped; what its .dockerignore names stays out."""
    zip_file: LocalFile | None = None
    """A zip file beside the playbook, at most 50 MB."""
    image_uri: Fixed[Id | None] | None = None
    """An image in ECR; by its digest (`uri` of ecr_image), a new image is a change here."""
    description: str = Field(default="", max_length=256)
    """What it is for."""
    memory_size: int = Field(default=128, ge=128, le=10240)
    """MB; processor time grows with it."""
    timeout: int = Field(default=3, ge=1, le=900)
    """Seconds that one invocation may take; an HTTP API waits for 30 at most."""
    environment_variables: dict[str, str] | None = None
    """Environment variables; 4 KB in all."""
    architecture: Literal["x86_64", "arm64"] = "x86_64"
    """The processor it runs on."""
    layers: list[Layer] | None = Field(default=None, max_length=5)
    """Layers of packages, at most 5."""
    vpc_subnet_ids: list[Id] | None = None
    """Subnets of a VPC that it can then reach; it has no way to the internet but by a NAT gateway."""
    vpc_security_group_ids: list[Id] | None = None
    """The groups of its network interfaces; needed with `vpc_subnet_ids`."""
    tracing_mode: Literal["Active", "PassThrough"] = "PassThrough"
    """Whether X-Ray traces invocations."""
    ephemeral_storage: int = Field(default=512, ge=512, le=10240)
    """MB in /tmp."""
    publish: bool = False
    """Each change of the code is published as a version."""
    log_retention: _logs.Days | None = 14
    """Days that its log is kept; for ever with null."""

    @field_validator("environment_variables")
    @classmethod
    def _variables(cls, value: dict[str, str] | None) -> dict[str, str] | None:
        for name in value or {}:
            if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]+", name):
                raise ValueError(f"`{name}` is no name of a variable: a letter, then letters, digits and _")
            if name in _RESERVED:
                raise ValueError(f"`{name}` is set by Lambda itself: choose another name")
        return value

    @model_validator(mode="after")
    def _one_code(self) -> Self:
        given = [name for name in ("src", "zip_file", "image_uri") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError("give its code as one of `src` (a folder), `zip_file` or `image_uri`")
        of_zip = [name for name in ("runtime", "handler", "layers") if getattr(self, name) is not None]
        if given == ["image_uri"] and of_zip:
            raise ValueError(f"an image says itself what runs: leave out {', '.join(of_zip)}")
        if given != ["image_uri"] and not (self.runtime and self.handler):
            raise ValueError("code in a zip file needs `runtime` and `handler`")
        if (self.vpc_subnet_ids is None) != (self.vpc_security_group_ids is None):
            raise ValueError("vpc_subnet_ids and vpc_security_group_ids go together")
        return self

    def wanted(self, also: Sequence[str] = ()) -> Values:
        """Code in a zip file is compared by the hash of what it is made of."""
        values = super().wanted(also)
        for name in _ZIPPED & values.keys():
            if values[name] is not None:
                values[name] = UNKNOWN if holds_unknown(values[name]) else self._inputs()
        return values

    def _inputs(self) -> str:
        """The hash of what the code is made of: no two zip programs give the same bytes."""
        if isinstance(self.src, LocalFolder):
            return f"sha256:{self.src.sha256}"
        return f"sha256:{self.zip_file.sha256}" if isinstance(self.zip_file, LocalFile) else ""

    @classmethod
    def differs(cls, name: str, wanted: Any, there: Any) -> bool:
        """Lists of ids have no order; nothing given is the same as none."""
        if isinstance(wanted, Unknown):
            return True
        if name in ("vpc_subnet_ids", "vpc_security_group_ids"):
            return sorted(wanted or []) != sorted(there or [])
        if name == "publish" or name in _ZIPPED:
            return bool(wanted and wanted != there)
        if name in ("environment_variables", "layers"):
            return bool((wanted or None) != (there or None))
        return bool(wanted != there)

    @classmethod
    def describe_difference(cls, name: str, wanted: Any, there: Any) -> str | None:
        """Hashes say little."""
        if name not in _ZIPPED:
            return None
        return "its code has changed" if there else "its code is not what labctl has put there"

    def replaces(self, name: str, there: Values) -> bool:
        """Code changes in place, but not from a zip file to an image or back."""
        if name == "image_uri":
            return not there.get("image_uri") or self.image_uri is None
        if name in _ZIPPED:
            return bool(there.get("image_uri"))
        return super().replaces(name, there)

    @classmethod
    def unsettles(cls, changed: frozenset[str]) -> frozenset[str]:
        """New code is another version."""
        return frozenset({"version", "code_sha256"}) if changed & (_OF_CODE | {"publish"}) else frozenset()

    def reach(self, place: Place) -> Mapping[str, Sequence[str]]:
        """This function, its role and its log group alone."""
        own, logs = (
            [place.arn("lambda", f"function:{self.name}")],
            [place.arn("logs", f"log-group:{self._group}*")],
        )
        only: dict[str, Sequence[str]] = {}
        for action in self.actions:
            service, _, verb = action.partition(":")
            if service == "lambda" and verb != "GetLayerVersion":
                only[action] = own
            elif service == "logs" and verb != "DescribeLogGroups":
                only[action] = logs
        if not isinstance(self.role, Unknown):
            only["iam:PassRole"] = [self.role]
        if self.vpc_subnet_ids is None:
            only |= {action: () for action in self.actions if action.startswith("ec2:")}
        if self.image_uri is None:
            only |= {action: () for action in self.actions if action.startswith("ecr:")}
        return only

    @property
    def _group(self) -> str:
        return f"/aws/lambda/{self.name}"

    def foretold(self, place: Place) -> Values:
        """Its name, and what follows from it."""
        arn = place.arn("lambda", f"function:{self.name}")
        return {"id": self.name, "name": self.name, "arn": arn, "log_group": self._group}

    def foreseen(self) -> str | None:
        """Its name."""
        return self.name

    def create(self, world: World) -> str:
        """CreateFunction, then its log group; waits until it is Active."""
        code, digest = self._code()
        tags = {**tags_for(world), **({CODE: f"{self._inputs()} {digest}"} if digest else {})}
        image = self.image_uri is not None
        given: dict[str, Any] = {
            "PackageType": "Image" if image else "Zip",
            "Architectures": [self.architecture],
        }
        given |= {
            sent: value for name, sent in _SETTINGS.items() if (value := getattr(self, name)) is not None
        }
        given |= self._settings(frozenset(self.model_fields_set))
        try:
            once_propagated(
                world,
                lambda: world.aws.call(
                    "lambda",
                    "create_function",
                    retry=True,
                    FunctionName=self.name,
                    Code=code,
                    Publish=self.publish,
                    Tags=narrow(tags),
                    **given,
                ),
            )
        except AwsError as error:
            if error.code != "ResourceConflictException":
                raise
            self._refuse_another(world)
        finish(world, self.name, lambda: self._make_ready(world))
        return self.name

    def _refuse_another(self, world: World) -> None:
        """An earlier try whose answer got lost may have made it: its tags tell."""
        there = found(world, self.name)
        if there is not None and not is_made_by(world, tags_seen(there)):
            raise StepFailed(
                f"a function called {self.name} is there already, and this resource did not make it",
                "choose another name, or delete that function if nobody needs it",
            )

    def _make_ready(self, world: World) -> None:
        _logs.make(world, self._group, self.log_retention)
        await_ready(world, self.name)

    def _code(self) -> tuple[dict[str, Any], str]:
        """The code as Lambda takes it, and the hash that Lambda has of it; none for an image."""
        if self.image_uri is not None:
            return {"ImageUri": self.image_uri}, ""
        if self.src is not None:
            packed = zip_of(self.src)
        else:
            packed = self.zip_file.path.read_bytes() if self.zip_file is not None else b""
        if len(packed) > _LARGEST_ZIP:
            raise StepFailed(
                f"the code is {len(packed) >> 20} MB as a zip file; Lambda takes 50 MB in a request",
                "leave out what it does not need (.dockerignore), or use an image (image_uri)",
            )
        return {"ZipFile": packed}, base64.b64encode(hashlib.sha256(packed).digest()).decode()

    def _settings(self, names: frozenset[str]) -> dict[str, Any]:
        """Those of the settings `names` that are more than one plain value, as Lambda takes them."""
        given: dict[str, Any] = {}
        if "environment_variables" in names:
            given["Environment"] = {"Variables": dict(self.environment_variables or {})}
        if "layers" in names:
            given["Layers"] = [layer.layer_version_arn for layer in self.layers or ()]
        if names & {"vpc_subnet_ids", "vpc_security_group_ids"}:
            given["VpcConfig"] = {
                "SubnetIds": list(self.vpc_subnet_ids or ()),
                "SecurityGroupIds": list(self.vpc_security_group_ids or ()),
            }
        if "tracing_mode" in names:
            given["TracingConfig"] = {"Mode": self.tracing_mode}
        if "ephemeral_storage" in names:
            given["EphemeralStorage"] = {"Size": self.ephemeral_storage}
        return given

    @classmethod
    def read_many(cls, world: World, ids: Sequence[str]) -> dict[str, Values]:
        """GetFunction of each, as lists tell no tags and images; its versions; all log groups at once."""
        every = {id: there for id in dict.fromkeys(ids) if (there := found(world, id)) is not None}
        groups = _logs.retentions(world, [f"/aws/lambda/{id}" for id in every])
        return {id: values_of(there, versions(world, id), groups) for id, there in every.items()}

    def update(self, world: World, id: str, changed: frozenset[str]) -> None:
        """UpdateFunctionCode, UpdateFunctionConfiguration; Lambda takes one at a time."""
        if changed & _OF_CODE:
            self._update_code(world, id)
        if self.publish and changed & (_OF_CODE | {"publish"}):
            ask(world, "publish_version", FunctionName=id)
        settings = {_SETTINGS[name]: getattr(self, name) for name in changed & _SETTINGS.keys()}
        settings |= self._settings(changed)
        if "Description" in settings:
            settings["Description"] = self.description or ""
        if settings:
            settled(
                world,
                lambda: once_propagated(
                    world,
                    lambda: ask(world, "update_function_configuration", FunctionName=id, **settings),
                ),
            )
            await_ready(world, id)
        if "log_retention" in changed:
            _logs.make(world, self._group, self.log_retention)

    def _update_code(self, world: World, id: str) -> None:
        code, digest = self._code()
        answer = settled(
            world,
            lambda: ask(
                world,
                "update_function_code",
                FunctionName=id,
                Architectures=[self.architecture],
                **code,
            ),
        )
        await_ready(world, id)
        if digest:
            arn = str(answer["FunctionArn"])
            ask(world, "tag_resource", Resource=arn, Tags=narrow({CODE: f"{self._inputs()} {digest}"}))

    @classmethod
    def delete(cls, world: World, id: str) -> None:
        """DeleteFunction with all versions, and its log group; waits for its network interfaces to go."""
        there = found(world, id)
        in_vpc = bool(there and (there["Configuration"].get("VpcConfig") or {}).get("SubnetIds"))
        unless_gone(lambda: settled(world, lambda: ask(world, "delete_function", FunctionName=id)))
        _logs.remove(world, f"/aws/lambda/{id}")
        if in_vpc:
            await_interfaces(world, id)

    @classmethod
    def find(cls, world: World) -> list[str]:
        """The function of the foreseen name, where its tags are those of the create."""

        def tags_of(name: str) -> dict[str, str] | None:
            there = found(world, name)
            return None if there is None else tags_seen(there)

        return ours(world, tags_of)

    def as_commands(self, action: str, id: str | None, changed: frozenset[str] = frozenset()) -> list[str]:
        """`zip`, `aws lambda create-function`, `update-function-code`, `update-function-configuration`."""
        if action == "delete":
            group = f"aws logs delete-log-group --log-group-name {word(f'/aws/lambda/{id}')}"
            return [f"aws lambda delete-function --function-name {word(id)}", group]
        name = word(self.name)
        asked = f"aws lambda get-function --function-name {name}"
        queries = {"arn": "Configuration.FunctionArn", "code_sha256": "Configuration.CodeSha256"}
        lines = self._made_by_hand() if action == "create" else self._changed_by_hand(changed)
        if action == "create" and "id" in self._beside.needed:
            lines.append(f"{variable(self._address)}={name}")
        return [*lines, *told(self, asked, queries)]

    def _code_by_hand(self) -> tuple[list[str], str]:
        """Commands that pack the code, and the option that sends it."""
        if self.image_uri is not None:
            return [], f"--code ImageUri={word(self.image_uri)}"
        if isinstance(self.src, LocalFolder):
            archive = f"{self.name}.zip"
            return [f'(cd {word(self.src.path)} && zip -qr "$OLDPWD"/{word(archive)} .)'], (
                f"--zip-file {word(f'fileb://{archive}')}"
            )
        path = self.zip_file.path if isinstance(self.zip_file, LocalFile) else "function.zip"
        return [], f"--zip-file {word(f'fileb://{path}')}"

    def _made_by_hand(self) -> list[str]:
        lines, code = self._code_by_hand()
        command = aws(
            "create-function",
            service="lambda",
            function_name=self.name,
            role=self.role,
            runtime=self.runtime,
            handler=self.handler,
            package_type="Image" if self.image_uri is not None else None,
            memory_size=self.memory_size,
            timeout=self.timeout,
            architectures=self.architecture,
        )
        lines.append(f"{command} {code}{self._more_by_hand(frozenset(self.model_fields_set))}")
        lines.append(f"aws lambda wait function-active-v2 --function-name {word(self.name)}")
        group = f"--log-group-name {word(self._group)}"
        lines.append(f"aws logs create-log-group {group}")
        if self.log_retention is not None:
            lines.append(
                f"aws logs put-retention-policy {group} --retention-in-days {word(self.log_retention)}"
            )
        return lines

    def _more_by_hand(self, names: frozenset[str]) -> str:
        flags = {
            "Environment": "environment",
            "Layers": "layers",
            "VpcConfig": "vpc-config",
            "TracingConfig": "tracing-config",
            "EphemeralStorage": "ephemeral-storage",
        }
        if holds_unknown([plain(self.layers), plain(self.environment_variables)]):
            names -= {"layers", "environment_variables"}
        given = self._settings(names)
        return "".join(f" --{flags[name]} {json_word(value)}" for name, value in given.items())

    def _changed_by_hand(self, changed: frozenset[str]) -> list[str]:
        name, lines = word(self.name), list[str]()
        if changed & _OF_CODE:
            lines, code = self._code_by_hand()
            code = code.replace("--code ImageUri=", "--image-uri ")
            lines.append(f"aws lambda update-function-code --function-name {name} {code}")
            lines.append(f"aws lambda wait function-updated-v2 --function-name {name}")
        plain_ones = {field: getattr(self, field) for field in sorted(changed & _SETTINGS.keys())}
        more = self._more_by_hand(changed)
        if plain_ones or more:
            command = aws(
                "update-function-configuration", service="lambda", function_name=self.name, **plain_ones
            )
            lines.append(command + more)
        if "log_retention" in changed:
            group = f"--log-group-name {word(self._group)}"
            lines.append(
                f"aws logs delete-retention-policy {group}"
                if self.log_retention is None
                else f"aws logs put-retention-policy {group} --retention-in-days {word(self.log_retention)}"
            )
        return lines

    def price(self) -> float | None:
        """Nothing by the hour: 0.20 USD per million requests, 0.0000167 per second and GB."""
        return 0.0
