"""Makes plan.svg: `labctl plan playbooks/hw02.yml` as a terminal shows it, shortened. Run by `make docs`."""

from __future__ import annotations

import io
import os
import pty
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

DOCS = Path(__file__).parent
COMMAND = "labctl plan playbooks/hw02.yml"
COLUMNS = 80
SHOWN = ("vpc", "public_sg", "bastion", "docker", "web")
"""The resources whose part of the plan is shown."""


def plan() -> str:
    """What the command prints on a terminal, on a sandbox of its own that is ended afterwards."""
    with tempfile.TemporaryDirectory() as home:
        own = {
            "HOME": home,
            "LABCTL_SANDBOX_DIR": f"{home}/sandbox",
            "COLUMNS": str(COLUMNS),
            "TERM": "xterm",
        }
        environment = {**{k: v for k, v in os.environ.items() if k != "NO_COLOR"}, **own}
        for folder in ("playbooks", "templates", "inventory"):
            shutil.copytree(DOCS.parent / folder, Path(home, folder))
        try:
            return _on_terminal(["plan", "playbooks/hw02.yml"], Path(home), environment)
        finally:
            stop = [*_LABCTL, "sandbox", "stop"]
            subprocess.run(stop, cwd=home, env=environment, check=True, capture_output=True)


_LABCTL = (sys.executable, "-c", "from engine.cli import main; main()")


def _on_terminal(arguments: list[str], folder: Path, environment: Mapping[str, str]) -> str:
    mine, its = pty.openpty()
    run = subprocess.Popen(
        [*_LABCTL, *arguments], cwd=folder, env=environment, stdout=its, stderr=subprocess.PIPE
    )
    os.close(its)
    told = b"".join(_pieces(mine))
    _, messages = run.communicate()
    if run.returncode:
        raise SystemExit(messages.decode())
    first = messages.decode().splitlines()[0]
    return f"{first}\n{told.decode()}".replace("\r\n", "\n")


def _pieces(terminal: int) -> Iterator[bytes]:
    try:
        while piece := os.read(terminal, 65536):
            yield piece
    except OSError:  # how Linux says that the other end has been closed
        return


def shortened(text: str) -> str:
    """The first line, the blocks of what is SHOWN, and the end; ids made the same each time."""
    # Ids are random on the sandbox; the picture is to change only when the plan does.
    text = re.sub(r"\b(ami|vpc)-[0-9a-f]{17}", r"\1-0a1b2c3d4e5f60718", text)
    first, _, rest = text.partition("\n")
    blocks = rest.strip("\n").split("\n\n")
    kept = [block for block in blocks[:-1] if _name(block) in SHOWN]
    return "\n\n".join([f"$ {COMMAND}\n{first}", *kept, "  …", blocks[-1]])


def _name(block: str) -> str:
    words = re.sub(r"\x1b\[[0-9;]*m", "", block).split()
    return words[1] if len(words) > 1 else ""


def picture(text: str) -> str:
    """A terminal window with `text`, which may hold ANSI colours, as an SVG document."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print(Text.from_ansi(text))
    document = console.export_svg(title=COMMAND, theme=MONOKAI, unique_id="plan")
    # Fonts from elsewhere are not fetched for a picture in a page; the reader's own will do.
    document = re.sub(r"@font-face \{.*?\}\s*", "", document, flags=re.DOTALL)
    return document.replace("Fira Code, monospace", "monospace")


if __name__ == "__main__":
    (DOCS / "plan.svg").write_text(picture(shortened(plan())), "utf-8")
    sys.stdout.write("docs/plan.svg is up to date\n")
