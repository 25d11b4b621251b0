"""A real Ansible, told of a lab by the inventory that labctl prints."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.scenarios.place import LABCTL, Place


def pongs(place: Place, *lab: str) -> set[str]:
    """The hosts of the lab (the words that name it to labctl) that answer `ansible -m ping all`."""
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    program = shutil.which("ansible", path=path)
    if program is None:
        pytest.skip("there is no ansible here: pip install ansible-core")
    inventory = place.folder / "lab-hosts"
    words = " ".join(("inventory", "--ansible", *lab))
    inventory.write_text(f'#!/bin/sh\ncd {place.folder} && exec {LABCTL} {words} "$@"\n')
    inventory.chmod(0o755)
    # pytest's own folders are too long for a socket's path.
    with tempfile.TemporaryDirectory(prefix="a") as sockets:
        done = subprocess.run(
            [program, "-i", str(inventory), "-m", "ping", "--one-line", "all"],
            capture_output=True,
            text=True,
            env={
                **place.env,
                "ANSIBLE_SSH_CONTROL_PATH_DIR": sockets,
                "ANSIBLE_PYTHON_INTERPRETER": "/usr/bin/python3",
            },
            cwd=place.folder,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    return {line.split(" | ")[0] for line in done.stdout.splitlines() if '"ping": "pong"' in line}
