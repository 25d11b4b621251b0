"""How long the same twenty tasks take on hosts behind a bastion: labctl, pyinfra, Ansible and a plain script.

    python benchmarks/hosts.py                            1, 5 and 10 hosts, 0 and 40 ms away: about an hour
    python benchmarks/hosts.py --hosts 1 --delays 0 --repeats 1      a first impression, three minutes
    python benchmarks/hosts.py --hosts "" --add a.json b.json        the table of what was measured before
    python benchmarks/hosts.py --clean                    removes what a killed run has left

It needs Docker, the `ssh` command, and labctl installed beside the Python that runs it. Ansible and pyinfra
are installed into environments of their own below build/benchmarks. What it measures is told in
benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from fleet import PACKAGES, TOOLS, Fleet, clean, undo
from tools import Ansible, Failed, Labctl, Pyinfra, Run, Script, Tool, environment, version

BUILD = Path(__file__).resolve().parent.parent / "build" / "benchmarks"
ROWS = {
    "first": "first run",
    "no packages": "first run, packages in place",
    "no containers": "first run, packages and containers in place",
    "no-op": "no-op run",
    "plan": "plan",
}
INSTALLED = ("pyinfra", "ansible")


@dataclass(frozen=True)
class Measured:
    """One run: what was run where, seconds that it took, and seconds of processor time on each host."""

    hosts: int
    delay: int
    repeat: int
    tool: str
    row: str
    seconds: float
    processor: float


class Bench:
    """One fleet at one distance: every tool does everything on it."""

    def __init__(self, fleet: Fleet, tools: list[Tool], delay: int, rows: list[str]) -> None:
        self.rows = rows
        self.fleet = fleet
        self.tools = tools
        self.delay = delay

    def measure(self, repeat: int) -> Iterator[Measured]:
        """All runs of all tools, in another order each time."""
        shift = repeat % len(self.tools)
        for tool in (*self.tools[shift:], *self.tools[:shift]):
            yield from self._all_of(tool, repeat)

    def _all_of(self, tool: Tool, repeat: int) -> Iterator[Measured]:
        for row in ROWS:
            if row not in self.rows:
                continue
            if row in ("no-op", "plan"):
                if tool.name != "script":
                    yield self._timed(tool, row, repeat, tool.run if row == "no-op" else tool.plan)
                continue
            if row == "no containers" and tool.name == "script":
                continue
            self.fleet.run(undo(tool.name, packages=row == "first", containers=row != "no containers"))
            tool.forget()
            time.sleep(1)
            yield self._timed(tool, row, repeat, tool.run)
            self._check(tool)

    def _timed(self, tool: Tool, row: str, repeat: int, run: Callable[[], Run]) -> Measured:
        before = self._processor()
        done = run()
        used = self._processor() - before
        if row == "no-op" and not tool.unchanged(done.output):
            raise Failed(f"{tool.name} found something to do in a no-op run:\n{done.output[-3000:]}")
        return Measured(
            self.fleet.count, self.delay, repeat, tool.name, row, done.seconds, used / self.fleet.count
        )

    def _processor(self) -> float:
        """Seconds of processor time that the hosts have used so far."""
        script = (
            "cat /sys/fs/cgroup/cpuacct/cpuacct.usage 2>/dev/null || "
            "sed -n 's/usage_usec \\(.*\\)/\\1000/p' /sys/fs/cgroup/cpu.stat"
        )
        return sum(int(said.split()[0]) for said in self.fleet.run(script)) / 1e9

    def _check(self, tool: Tool) -> None:
        """See on the hosts themselves that the twenty things are there."""
        name = tool.name
        lines = [
            *(
                f"dpkg-query -W -f='${{db:Status-Status}}' {package} | grep -qx installed"
                for package in PACKAGES
            ),
            *(f"id {name}{number} >/dev/null" for number in (1, 2, 3)),
            *(
                f"systemctl is-active -q {name}-{number} && systemctl is-enabled -q {name}-{number}"
                for number in (1, 2, 3)
            ),
            f"test -d /srv/{name}",
            *(
                f"test -s /srv/{name}/{file}"
                for file in ("notes.txt", "settings", "index.html", "about", "stamp", "index")
            ),
            *(
                f"docker inspect -f '{{{{.State.Running}}}}' {name}-{one} | grep -qx true"
                for one in ("web", "api")
            ),
        ]
        script = "\n".join(f"{line} || echo '{line.replace(chr(39), '')}'" for line in lines)
        for host, said in zip(self.fleet.hosts, self.fleet.run(script), strict=True):
            if said:
                raise Failed(f"{name} has not done everything on {host}:\n{said}")


def main() -> int:
    given = _arguments()
    if given.clean:
        clean()
        return 0
    say = _say
    programs = {name: environment(BUILD / name, name, say) for name in INSTALLED if name in given.tools}
    results = [Measured(**one) for file in given.add for one in json.loads(Path(file).read_text())]
    for count in given.hosts:
        with (
            tempfile.TemporaryDirectory(prefix="labctl-benchmark-") as folder,
            Fleet(count, Path(folder), say, given.cgroup_parent) as fleet,
        ):
            benches = [_bench(fleet, Path(folder), given, delay, programs) for delay in given.delays]
            for repeat in range(given.repeats):
                for bench in benches:
                    for measured in bench.measure(repeat):
                        results.append(measured)
                        say(
                            f"{measured.hosts} hosts, {measured.delay} ms: {measured.tool}, {measured.row}: "
                            f"{measured.seconds:.2f} s, {measured.processor:.2f} s of processor time a host"
                        )
                        if given.json:
                            text = json.dumps([asdict(one) for one in results], indent=1)
                            Path(given.json).write_text(text + "\n")
            for bench in benches:
                for tool in bench.tools:
                    tool.forget()
    for name, place in programs.items():
        print(version(place / name))
    print(table(results))
    return 0


def _bench(
    fleet: Fleet, folder: Path, given: argparse.Namespace, delay: int, programs: dict[str, Path]
) -> Bench:
    port = fleet.relay(delay / 1000)
    place = folder / str(delay)
    makers: dict[str, Callable[[Path], Tool]] = {
        "labctl": lambda own: Labctl(own, fleet, port),
        "pyinfra": lambda own: Pyinfra(own, fleet, port, programs["pyinfra"]),
        "ansible": lambda own: Ansible(own, fleet, port, programs["ansible"]),
        "script": lambda own: Script(own, fleet, port),
    }
    return Bench(fleet, [makers[name](place / name) for name in given.tools], delay, given.rows)


def table(results: list[Measured]) -> str:
    """The medians as Markdown, with how many times longer than labctl the others take."""
    seconds: dict[tuple[int, int, str, str], list[float]] = defaultdict(list)
    processor: dict[tuple[int, int, str, str], list[float]] = defaultdict(list)
    for one in results:
        key = (one.hosts, one.delay, one.row, one.tool)
        seconds[key].append(one.seconds)
        processor[key].append(one.processor)
    names = [name for name in TOOLS if any(one.tool == name for one in results)]
    heads = [
        "hosts",
        "added round trip",
        "",
        *names,
        *(f"{name} : labctl" for name in names if name not in ("labctl", "script")),
    ]
    heads += ["processor time on a host: " + " / ".join(names)]
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    for count, delay in sorted({(one.hosts, one.delay) for one in results}):
        for row, words in ROWS.items():
            medians = {name: _median(seconds[count, delay, row, name]) for name in names}
            if not any(medians.values()):
                continue
            cells = [str(count), f"{delay} ms", words, *(_shown(medians[name], " s") for name in names)]
            for name in names:
                if name not in ("labctl", "script"):
                    both = medians[name], medians.get("labctl")
                    cells.append(_shown(both[0] / both[1] if both[0] and both[1] else None, "×", 1))
            used = [_median(processor[count, delay, row, name]) for name in names]
            cells.append(" / ".join(_shown(value, "") for value in used) + " s")
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _median(values: list[float]) -> float | None:
    return statistics.median(values) if values else None


def _shown(value: float | None, unit: str, digits: int = 2) -> str:
    return "–" if value is None else f"{value:.{digits}f}{unit}"


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )

    def numbers(text: str) -> list[int]:
        return [int(part) for part in text.split(",") if part]

    parser.add_argument("--hosts", type=numbers, default=[1, 5, 10], help="how many hosts, as in 1,5,10")
    parser.add_argument(
        "--delays", type=numbers, default=[0, 40], help="milliseconds added to a round trip, as in 0,40"
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--tools", type=lambda text: text.split(","), default=list(TOOLS), help=f"of {','.join(TOOLS)}"
    )
    parser.add_argument(
        "--rows", type=lambda text: text.split(","), default=list(ROWS), help=f"of {','.join(ROWS)}"
    )
    parser.add_argument("--json", help="a file for every single measurement")
    parser.add_argument("--add", nargs="+", default=[], help="such files, for the table to have these, too")
    parser.add_argument(
        "--cgroup-parent", default="", help="a cgroup for the hosts, on a machine that others use"
    )
    parser.add_argument("--clean", action="store_true", help="remove what a killed run has left")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
