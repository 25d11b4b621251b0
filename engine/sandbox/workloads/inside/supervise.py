"""Runs one workload: its limits, its log, its end with the sandbox's. Started as `python -I -S supervise.py`.

The first line of standard input is a JSON object: `argv`, `env`, `cwd`, `limits`, `log`. After that line the
input stays open as long as the sandbox lives and wants the workload; when it closes, the whole process
group is killed, however the sandbox ended. SIGTERM is passed on. Exits as the program does, 128 and the
number for a signal, 127 where there is no such program.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from typing import IO, Any

LOG_BYTES = 1 << 20
"""After so many bytes the log goes aside, and a new one begins."""
LONGEST_LINE = 1 << 16


class Log:
    """Lines with the time they came, `1700000000000 text`, in a file that is kept small."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._open()

    def _open(self) -> None:
        self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._size = os.fstat(self._file).st_size

    def write(self, line: bytes) -> None:
        """Adds a line."""
        if self._size > LOG_BYTES:
            os.close(self._file)
            os.replace(self._path, f"{self._path}.1")
            self._open()
        self._size += os.write(self._file, b"%d %s\n" % (time.time() * 1000, line.rstrip(b"\r\n")))

    def copy(self, stream: IO[bytes]) -> None:
        """Adds what comes from `stream` until its end."""
        while line := stream.readline(LONGEST_LINE):
            self.write(line)


def limit(limits: dict[str, int]) -> None:
    """Sets resource limits on this process and all it starts; what the system does not allow stays."""
    import resource

    for name, most in limits.items():
        sort = getattr(resource, f"RLIMIT_{name}", None)
        if sort is None:
            continue
        _, hard = resource.getrlimit(sort)
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        try:
            resource.setrlimit(sort, (most, most))
        except (OSError, ValueError):
            continue


def watch() -> None:
    """Kills the process group once the sandbox has gone or has closed its end."""
    sys.stdin.buffer.read()
    os.killpg(0, signal.SIGKILL)


def run(spec: dict[str, Any], log: Log) -> int:
    """Runs the program to its end; its exit status."""
    try:
        program = subprocess.Popen(
            spec["argv"],
            env=spec["env"],
            cwd=spec["cwd"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
    except OSError as error:
        log.write(f"{spec['argv'][0]}: {error.strerror}".encode())
        return 127
    signal.signal(signal.SIGTERM, lambda *_: program.send_signal(signal.SIGTERM))
    assert program.stdout is not None
    copying = threading.Thread(target=log.copy, args=(program.stdout,), daemon=True)
    copying.start()
    status = program.wait()
    copying.join(1)
    return status if status >= 0 else 128 - status


def main() -> None:
    """As the module says."""
    spec = json.loads(sys.stdin.buffer.readline())
    os.umask(0o022)
    if sys.platform != "win32":
        limit(spec["limits"])
    threading.Thread(target=watch, daemon=True).start()
    status = run(spec, Log(spec["log"]))
    sys.stdout.flush()
    os._exit(status)


if __name__ == "__main__":
    main()
