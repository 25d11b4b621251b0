"""Files with secrets that AWS tells once: mode 0600, never over anything else, removed only if the same."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import StepFailed

if TYPE_CHECKING:
    from engine.world import World


@contextmanager
def drafted(
    target: Path, refuse_others: Callable[[], None], unwritable: Callable[[Exception], StepFailed]
) -> Iterator[Callable[[str], None]]:
    """A function that puts a text into `target` in one move, mode 0600, after a draft of it can be written.

    `refuse_others` raises where the file that is there must stay; it is asked before and after the draft.
    `unwritable` makes the failure of what the disk says.
    """
    draft = target.with_name(f".{target.name}.labctl-{os.getpid()}-{os.urandom(4).hex()}")
    try:
        refuse_others()
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except (OSError, UnicodeDecodeError) as error:
        raise unwritable(error) from None

    def put(text: str) -> None:
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8", closefd=False) as file:
                file.write(text)
                file.flush()
                os.fsync(descriptor)
            refuse_others()
            os.replace(draft, target)
        except OSError as error:
            raise unwritable(error) from None

    try:
        yield put
    finally:
        os.close(descriptor)
        with suppress(FileNotFoundError):
            draft.unlink()


def mark_of(world: World) -> str:
    """What `reserve` marks a file of the job's resource with."""
    return f"labctl {world.lab} {world.job.address}"


@contextmanager
def reserve(path: str, mark: str) -> Iterator[Callable[[str], None]]:
    """A function that writes a secret to `path`, after making sure that this will be possible.

    The file's first line is `# MARK`, a remark in every format used here. A file that is there is replaced
    only if its first line is the same. Raises StepFailed for any other.
    """
    target = Path(path).expanduser()

    def refuse_others() -> None:
        _refuse_others(target, mark)

    with drafted(target, refuse_others, lambda error: _unwritable(path, error)) as put:
        yield lambda text: put(f"# {mark}\n{text}\n")


def holds(path: str, *parts: str) -> bool:
    """Whether the file `path` is there and holds all `parts`."""
    try:
        text = Path(path).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False
    return all(part in text for part in parts)


def remove(path: str, *parts: str) -> None:
    """Remove the file `path` if it holds all `parts`."""
    if not holds(path, *parts):
        return
    try:
        Path(path).expanduser().unlink()
    except OSError as error:
        raise StepFailed(f"{path} cannot be removed: {error.strerror}", "remove it by hand") from None


def _refuse_others(target: Path, mark: str) -> None:
    if target.exists() and target.read_text(encoding="utf-8").partition("\n")[0] != f"# {mark}":
        raise StepFailed(
            f"{target} is there already and is not labctl's for the same thing",
            "move it away, or name another file; labctl never writes over a file of others",
        )


def _unwritable(path: str, error: Exception) -> StepFailed:
    words = error.strerror if isinstance(error, OSError) else "it holds something else"
    return StepFailed(f"{path} cannot be written: {words}", "make the folder writable, or name another file")
