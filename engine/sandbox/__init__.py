"""The embedded cloud: one background process per user, started when it is first needed.

What is here runs in the caller's process, starts fast and imports nothing big; the cloud itself
(moto, asyncssh) lives in the background process, `python -m engine.sandbox`.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.errors import Unreachable
from engine.sandbox.locks import held
from engine.sandbox.settings import Settings

START_SECONDS = 60.0
STOP_SECONDS = 15.0
INFO, LOG, STARTING, RUNNING, STATE = "running.json", "sandbox.log", "starting.lock", "running.lock", "state"

_OTHERS = ("AWS_", "MOTO_")
"""The user's settings for real AWS, which must not reach the sandbox's (a missing profile stops moto)."""

CREDENTIALS = ("labctl", "sandbox")
"""Access key and secret that the sandbox's AWS takes."""

CALLER = "203.0.113.7"
"""The address the user has as seen from the sandbox's network (RFC 5737, documentation)."""


@dataclass(frozen=True)
class Running:
    """A sandbox that runs: its process, where its AWS and its network listen, where it keeps its state."""

    pid: int
    aws_endpoint: str
    socks_proxy: str
    directory: Path
    docker_host: str = ""
    """Where its Docker Engine answers, which builds and pushes images: `tcp://127.0.0.1:…`."""


def _silent(text: str) -> None:
    return None


def directory() -> Path:
    """The folder of this user's sandbox: LABCTL_SANDBOX_DIR, else one in the user's state folder."""
    given = os.environ.get("LABCTL_SANDBOX_DIR")
    if given:
        return Path(given).absolute()
    from platformdirs import user_state_path

    return user_state_path("labctl") / "sandbox"


def status() -> Running | None:
    """The sandbox that runs now; None where none does, also where one was killed and left its file."""
    return _status(directory())


def _status(folder: Path) -> Running | None:
    info = _info(folder)
    if info is None:
        return None
    told = _ask(info, "GET", "status")
    if told is None or told.get("secret_id") != info["secret_id"]:
        return None
    return Running(
        info["pid"], info["aws_endpoint"], info["socks_proxy"], folder, info.get("docker_host", "")
    )


def _info(folder: Path) -> dict[str, Any] | None:
    try:
        info = json.loads((folder / INFO).read_text())
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError):
        return None
    return info if isinstance(info, dict) else None


def _ask(info: dict[str, Any], method: str, page: str, body: Any = None) -> dict[str, Any] | None:
    """What the process behind `info` answers; None where nothing of ours listens there."""
    _, _, port = str(info["aws_endpoint"]).rpartition(":")
    connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=10)
    try:
        text = json.dumps(body) if body is not None else None
        connection.request(method, f"/_labctl/{page}", text, {"X-Labctl-Secret": info["secret"]})
        answer = connection.getresponse()
        told = json.loads(answer.read()) if answer.status == 200 else None
    except (OSError, http.client.HTTPException, json.JSONDecodeError):
        return None
    finally:
        connection.close()
    return told if isinstance(told, dict) else None


def ensure(settings: Mapping[str, Any], say: Callable[[str], None] = _silent) -> Running:
    """The running sandbox, started first where it does not run, with `settings` in force.

    `say` is told when it has to be started. Raises Invalid for wrong settings, and Unreachable where it
    cannot be started, with the end of its log, or where hosts are to be containers and cannot be.
    """
    wanted = Settings.of(settings)
    folder = directory()
    running = _status(folder)
    info = _info(folder)
    if wanted.hosts == "docker" and (running is None or (info or {}).get("settings") != wanted.as_dict()):
        from engine.sandbox.containers import check

        check()
    if running is None:
        running = _start(folder, wanted, say)
    info = _info(folder)
    if info is not None and info.get("settings") != wanted.as_dict():
        _ask(info, "POST", "settings", wanted.as_dict())
    return running


def _start(folder: Path, settings: Settings, say: Callable[[str], None]) -> Running:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Unreachable(
            f"the sandbox's folder {folder} cannot be made: {error.strerror}",
            "Set LABCTL_SANDBOX_DIR to a folder you can write to.",
        ) from error
    with held(folder / STARTING, timeout=START_SECONDS) as mine:
        running = _status(folder)
        if running is not None:
            return running
        if not mine:
            raise Unreachable(f"another command is still starting the sandbox in {folder}", _remedy(folder))
        killed = (folder / INFO).exists()
        say(
            "the sandbox had been killed; starting it again with the state it last wrote"
            if killed
            else "starting the sandbox"
        )
        (folder / INFO).unlink(missing_ok=True)
        return _spawn(folder, settings)


def _remedy(folder: Path) -> str:
    return f"Its log is {folder / LOG}. `labctl sandbox reset` starts from nothing."


def _spawn(folder: Path, settings: Settings) -> Running:
    command = [sys.executable, "-m", "engine.sandbox", str(folder), json.dumps(settings.as_dict())]
    package = str(Path(__file__).parents[2])
    known = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(_OTHERS)}
    environment |= {
        "PYTHONPATH": os.pathsep.join(known),
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }
    with (folder / LOG).open("ab") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=folder,
            env=environment,
            **_detached(),
        )
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        running = _status(folder)
        if running is not None:
            process.returncode = 0  # it outlives this process; nobody here waits for it
            return running
        time.sleep(0.02)
    ended = process.poll() is not None
    if not ended:
        process.kill()
        process.wait()
    words = "ended at once" if ended else f"did not answer within {START_SECONDS:.0f} s"
    raise Unreachable(f"the sandbox {words}: {_last_words(folder / LOG)}", _remedy(folder))


def _detached() -> dict[str, Any]:
    if sys.platform == "win32":
        return {"creationflags": subprocess.DETACHED_PROCESS | subprocess.CREATE_NEW_PROCESS_GROUP}
    return {"start_new_session": True}


def _last_words(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"


def stop() -> bool:
    """Ends the sandbox, its state kept for the next start; False where none ran."""
    folder = directory()
    info = _info(folder)
    if info is None or _status(folder) is None:
        return False
    _ask(info, "POST", "stop", {})
    with held(folder / RUNNING, timeout=STOP_SECONDS) as ended:
        if not ended:
            raise Unreachable(f"the sandbox (process {info['pid']}) does not end", _remedy(folder))
    return True


def reset() -> None:
    """Ends the sandbox and forgets everything in it: the next start is an empty cloud."""
    stop()
    folder = directory()
    if (folder / STATE / "door").exists():  # there were containers
        from engine.sandbox.containers.engine import name_of, remove_all

        remove_all(name_of(folder))
    from engine.sandbox.workloads.place import sweep

    sweep(folder)
    for name in (INFO, LOG):
        (folder / name).unlink(missing_ok=True)
    if (folder / STATE).exists():
        shutil.rmtree(folder / STATE)
