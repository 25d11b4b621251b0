"""Functions of Lambda as workloads: one process a function, which stays warm, as Lambda keeps it."""

from __future__ import annotations

import base64
import datetime
import hashlib
import http.client
import io
import json
import tempfile
import threading
import time
import uuid
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from engine.sandbox import CREDENTIALS
from engine.sandbox.workloads.images import Image, NoSuchImage
from engine.sandbox.workloads.running import Line, Workload, Workloads

RUNTIME_PORT: Final = 9001
TASK, LAYERS = "/var/task", "/opt"
_START_SECONDS: Final = 30.0
"""Lambda gives a module 10 seconds when it is imported; this machine may have other things to do."""


@dataclass(frozen=True)
class Function:
    """One version of a function as Lambda's API has it."""

    name: str
    arn: str
    version: str
    handler: str
    runtime: str
    timeout: float
    memory: int
    environment: Mapping[str, str]
    region: str
    code: bytes = b""
    """A zip archive; empty for one from an image."""
    layers: tuple[bytes, ...] = ()
    image: str = ""
    command: Sequence[str] = ()
    """In place of the image's command."""

    @property
    def key(self) -> str:
        """What it runs and how: where that changes, it runs anew."""
        parts = [
            hashlib.sha256(self.code).hexdigest(),
            *(hashlib.sha256(one).hexdigest() for one in self.layers),
        ]
        parts += [self.handler, self.image, *self.command, json.dumps(self.environment, sort_keys=True)]
        return hashlib.sha256("\0".join([*parts, str(self.memory)]).encode()).hexdigest()

    @property
    def log_group(self) -> str:
        """Where what it prints goes."""
        return f"/aws/lambda/{self.name}"


@dataclass(frozen=True)
class Outcome:
    """What an invocation came to."""

    payload: bytes
    error: str = ""
    """`Unhandled` where the function failed."""
    log: tuple[Line, ...] = ()
    stream: str = ""

    @property
    def tail(self) -> str:
        """The last 4 KB of its log, in base 64, as Lambda gives it."""
        text = "\n".join(line.text for line in self.log).encode()[-4096:]
        return base64.b64encode(text).decode()


@dataclass
class _Worker:
    workload: Workload
    key: str
    stream: str
    lock: threading.Lock = field(default_factory=threading.Lock)


class Functions:
    """Runs functions; its methods may be called in any thread."""

    def __init__(self, workloads: Workloads, endpoint: str) -> None:
        """`endpoint` is where the sandbox's AWS answers, for the functions' own requests."""
        self._workloads = workloads
        self._endpoint = endpoint
        self._lock = threading.Lock()
        self._workers: dict[str, _Worker] = {}

    def invoke(self, function: Function, event: bytes) -> Outcome:
        """Runs `function` once with `event`, a JSON text."""
        began, request = int(time.time() * 1000), str(uuid.uuid4())
        if function.runtime and not function.runtime.startswith("python"):
            return _broken(f"the sandbox runs functions of Python only, not of {function.runtime}", began)
        try:
            worker = self._worker(function)
        except NoSuchImage as error:
            return _broken(str(error), began)
        with worker.lock:
            return self._run(function, worker, request, event, began)

    def keep(self, arns: frozenset[str]) -> None:
        """Ends the functions that are not there any more."""
        with self._lock:
            gone = {arn: worker for arn, worker in self._workers.items() if arn not in arns}
            for arn in gone:
                del self._workers[arn]
        for worker in gone.values():
            worker.workload.stop(grace=0)
            worker.workload.remove()

    def _worker(self, function: Function) -> _Worker:
        with self._lock:
            worker = self._workers.get(function.arn)
            if worker is not None and worker.key == function.key and worker.workload.exit_code is None:
                return worker
            if worker is not None:
                worker.workload.stop(grace=0)
                worker.workload.remove()
            today = datetime.datetime.now(datetime.UTC).strftime("%Y/%m/%d")
            stream = f"{today}/[{function.version}]{uuid.uuid4().hex}"
            worker = _Worker(self._start(function), function.key, stream)
            self._workers[function.arn] = worker
            return worker

    def _start(self, function: Function) -> Workload:
        runtime = (Path(__file__).parent / "inside" / "lambda_runtime.py").read_bytes()
        endpoint = self._endpoint
        variables = {
            "AWS_LAMBDA_FUNCTION_NAME": function.name,
            "AWS_LAMBDA_FUNCTION_VERSION": function.version,
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory),
            "AWS_EXECUTION_ENV": f"AWS_Lambda_{function.runtime}",
            "AWS_REGION": function.region,
            "AWS_DEFAULT_REGION": function.region,
            # The sandbox's own credentials, which are worth nothing anywhere else.
            "AWS_ACCESS_KEY_ID": CREDENTIALS[0],
            "AWS_SECRET_ACCESS_KEY": CREDENTIALS[1],
            "AWS_ENDPOINT_URL": endpoint,
            "LAMBDA_TASK_ROOT": TASK,
            "_HANDLER": function.handler,
            "TZ": ":UTC",
            **function.environment,
        }
        image = self._image(function)
        task = image.environment.get("LAMBDA_TASK_ROOT", image.workdir if function.image else TASK)
        handler = function.handler or (list(function.command) or image.command or [""])[-1]
        with tempfile.TemporaryDirectory() as folder:
            files: dict[str, bytes | Path] = {"/var/runtime/lambda_runtime.py": runtime}
            if function.code:
                files[TASK] = _unzipped(function.code, Path(folder) / "task")
            for layer in function.layers:  # one over the other, as Lambda does
                files[LAYERS] = _unzipped(layer, Path(folder) / "layers")
            return self._workloads.start(
                image,
                name=f"function/{function.name}",
                entrypoint=["python", "/var/runtime/lambda_runtime.py"],
                command=[handler],
                environment=variables,
                memory_mb=function.memory,
                files=files,
                workdir=task,
                reach=[int(endpoint.rpartition(":")[2])],
            )

    def _image(self, function: Function) -> Image:
        if function.image:
            return self._workloads.images.find(function.image)
        return self._workloads.images.find("python:3")

    def _run(self, function: Function, worker: _Worker, request: str, event: bytes, began: int) -> Outcome:
        workload = worker.workload
        if not workload.await_port(RUNTIME_PORT, _START_SECONDS):
            words = workload.reason or "the function ended, or did not get ready, before it was invoked"
            said = workload.lines(began)
            workload.stop(grace=0)
            return _broken(words, began, said, worker.stream)
        headers = {
            "X-Request": request,
            "X-Deadline": str(int((time.time() + function.timeout) * 1000)),
            "X-Function": json.dumps(
                {
                    "name": function.name,
                    "version": function.version,
                    "arn": function.arn,
                    "memory": function.memory,
                    "log_group": function.log_group,
                    "log_stream": worker.stream,
                }
            ),
        }
        start = time.monotonic()
        payload, failed = _post(workload, event, headers, function.timeout)
        took = (time.monotonic() - start) * 1000
        if payload is None:
            timed_out = took >= function.timeout * 1000
            words = (
                f"{request} Error: Runtime exited without providing a reason"
                if not timed_out
                else f"{_now()} {request} Task timed out after {function.timeout:.2f} seconds"
            )
            said = workload.lines(began)
            workload.stop(grace=0)
            return _broken(words, began, said, worker.stream)
        said = [
            Line(began, f"START RequestId: {request} Version: {function.version}"),
            *(line for line in workload.lines(began)),
            Line(int(time.time() * 1000), f"END RequestId: {request}"),
            Line(int(time.time() * 1000), _report(request, took, function.memory)),
        ]
        return Outcome(payload, "Unhandled" if failed else "", tuple(said), worker.stream)


def _post(
    workload: Workload, event: bytes, headers: Mapping[str, str], seconds: float
) -> tuple[bytes | None, bool]:
    """What the runtime answers, and whether the function failed; None where it did not in time."""
    port = workload.ports().get(RUNTIME_PORT)
    if port is None:
        return None, True
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=seconds)
    try:
        line.request("POST", "/", event, dict(headers))
        answer = line.getresponse()
        return answer.read(), answer.headers.get("X-Failed") == "yes"
    except (OSError, http.client.HTTPException):
        return None, True
    finally:
        line.close()


def _broken(words: str, began: int, said: Sequence[Line] = (), stream: str = "") -> Outcome:
    payload = json.dumps({"errorMessage": words, "errorType": "Sandbox.Error"}).encode()
    if "Task timed out" in words or "Runtime exited" in words:
        payload = json.dumps({"errorMessage": words}).encode()
    return Outcome(payload, "Unhandled", (*said, Line(max(began, int(time.time() * 1000)), words)), stream)


def _report(request: str, took: float, memory: int) -> str:
    billed = max(1, -int(-took // 1))
    return (
        f"REPORT RequestId: {request}\tDuration: {took:.2f} ms\tBilled Duration: {billed} ms\t"
        f"Memory Size: {memory} MB"
    )


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def _unzipped(code: bytes, folder: Path) -> Path:
    """The archive's files below `folder`; nothing of it lies outside (zipfile takes care)."""
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(io.BytesIO(code)) as archive:
        archive.extractall(folder)
    return folder
