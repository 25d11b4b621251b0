"""Running what models and training jobs say: their files from S3, their programs as workloads."""

from __future__ import annotations

import http.client
import io
import json
import re
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from moto.s3.models import s3_backends

from engine.sandbox.sagemaker import kmeans
from engine.sandbox.workloads.images import Image, NoSuchImage
from engine.sandbox.workloads.running import Workload, Workloads

PORT: Final = 8080
"""Where images for SageMaker serve."""
_KMEANS: Final = re.compile(r"\d{12}\.dkr\.ecr\.[a-z0-9-]+\.amazonaws\.com/kmeans:\S+")
_PROGRAM: Final = "/opt/program/kmeans.py"


class CannotRun(Exception):
    """What was asked for cannot be run; the message is the FailureReason."""


@dataclass(frozen=True)
class Place:
    """A place in S3."""

    bucket: str
    key: str

    @classmethod
    def of(cls, url: str) -> Place:
        """`s3://bucket/key`."""
        bucket, _, key = url.removeprefix("s3://").partition("/")
        return cls(bucket, key)


class Store:
    """The S3 of one account."""

    def __init__(self, account: str) -> None:
        self._s3: Any = s3_backends[account]["aws"]

    def get(self, place: Place) -> bytes:
        """An object's content. Raises CannotRun where there is none."""
        found = self._s3.get_object(place.bucket, place.key) if place.bucket in self._s3.buckets else None
        if found is None:
            raise CannotRun(f"Could not find model data at s3://{place.bucket}/{place.key}.")
        content: bytes = found.value
        return content

    def below(self, place: Place) -> Iterator[tuple[str, bytes]]:
        """Names and contents of the objects whose keys begin so. Raises CannotRun where none do."""
        if place.bucket not in self._s3.buckets:
            raise CannotRun(f"ClientError: Data download failed: NoSuchBucket (404): {place.bucket}")
        found = [
            (name, key.value)
            for name, key in self._s3.buckets[place.bucket].keys.items()
            if name.startswith(place.key) and not name.endswith("/") and hasattr(key, "value")
        ]
        if not found:
            raise CannotRun(f"ClientError: No S3 objects found under S3 URL s3://{place.bucket}/{place.key}")
        yield from sorted(found)

    def put(self, place: Place, content: bytes) -> None:
        """Writes an object. Raises CannotRun where there is no such bucket."""
        if place.bucket not in self._s3.buckets:
            raise CannotRun(f"ClientError: Artifact upload failed: NoSuchBucket (404): {place.bucket}")
        self._s3.put_object(place.bucket, place.key, content)


def start(
    workloads: Workloads | None,
    image: str,
    argument: str,
    *,
    name: str,
    environment: Mapping[str, str],
    files: Mapping[str, bytes | Path],
) -> Workload:
    """Starts an image with `train` or `serve`. Raises CannotRun."""
    if workloads is None:
        raise CannotRun("InternalServerError: the sandbox runs no workloads")
    program: dict[str, bytes | Path] = {}
    if _KMEANS.fullmatch(image):
        found = _stand_in(workloads, image)
        program = {_PROGRAM: Path(kmeans.__file__)}
    else:
        try:
            found = workloads.images.find(image)
        except NoSuchImage as error:
            raise CannotRun(f"The image {image} does not exist or cannot be pulled: {error}") from None
    started = workloads.start(
        found,
        name=name,
        entrypoint=found.entrypoint or None,
        command=[argument],
        environment=environment,
        files={**files, **program},
    )
    if started.process is None:
        raise CannotRun(started.reason)
    return started


def _stand_in(workloads: Workloads, image: str) -> Image:
    """An image without files of its own for an algorithm of AWS's."""
    root = workloads.images.folder / "empty"
    root.mkdir(parents=True, exist_ok=True)
    return Image(image, "stand-in", {"Entrypoint": ["python", _PROGRAM]}, root, "python")


def unpacked(archive: bytes) -> dict[str, bytes | Path]:
    """The files of a model.tar.gz by the paths that an image finds them at. Raises CannotRun."""
    try:
        with tarfile.open(fileobj=io.BytesIO(archive)) as content:
            members = [member for member in content if member.isfile()]
            read = {member.name: content.extractfile(member) for member in members}
            return {
                f"/opt/ml/model/{name.removeprefix('./')}": file.read() for name, file in read.items() if file
            }
    except tarfile.TarError as error:
        raise CannotRun(f"The model data archive cannot be unpacked: {error}") from None


def packed(folder: Path) -> bytes:
    """A folder's content as model.tar.gz."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as content:
        for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
            content.add(path, str(path.relative_to(folder)), recursive=False)
    return archive.getvalue()


def answers(workload: Workload) -> bool:
    """Whether it says that it is well."""
    try:
        return asked(workload, "GET", "/ping", {}, b"", seconds=2.0)[0] == 200
    except OSError:
        return False


def asked(
    workload: Workload, method: str, path: str, headers: Mapping[str, str], body: bytes, *, seconds: float
) -> tuple[int, str, bytes]:
    """Status, content type and body of what it answers. Raises OSError where it does not."""
    real = workload.ports().get(PORT)
    if real is None:
        raise ConnectionRefusedError
    line = http.client.HTTPConnection("127.0.0.1", real, timeout=seconds)
    try:
        line.request(method, path, body, dict(headers))
        answer = line.getresponse()
        return answer.status, answer.getheader("Content-Type", "application/octet-stream"), answer.read()
    except http.client.HTTPException as error:
        raise ConnectionResetError(str(error)) from error
    finally:
        line.close()


def training_files(job: Any, store: Store) -> dict[str, bytes | Path]:
    """What a training image finds below /opt/ml/input. Raises CannotRun."""
    channels = job.input_data_config or []
    told = {
        channel["ChannelName"]: {
            "TrainingInputMode": job.algorithm_specification.get("TrainingInputMode", "File"),
            "ContentType": channel.get("ContentType", ""),
            "S3DistributionType": "FullyReplicated",
            "RecordWrapperType": "None",
        }
        for channel in channels
    }
    hosts = {"current_host": "algo-1", "hosts": ["algo-1"], "network_interface_name": "eth0"}
    files: dict[str, bytes | Path] = {
        "/opt/ml/input/config/hyperparameters.json": json.dumps(job.hyper_parameters or {}).encode(),
        "/opt/ml/input/config/inputdataconfig.json": json.dumps(told).encode(),
        "/opt/ml/input/config/resourceconfig.json": json.dumps(hosts).encode(),
        "/opt/ml/model/.keep": b"",
        "/opt/ml/output/.keep": b"",
    }
    for channel in channels:
        place = Place.of(channel["DataSource"]["S3DataSource"]["S3Uri"])
        folder = place.key.rpartition("/")[0]
        for key, content in store.below(place):
            name = key.removeprefix(folder).lstrip("/")
            files[f"/opt/ml/input/data/{channel['ChannelName']}/{name}"] = content
    return files
