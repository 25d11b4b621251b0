"""The labs that one command works on, opened: worlds that share their clients, and ledgers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self

from engine.errors import LabctlError
from engine.hosts.keys import Passphrases
from engine.hosts.log import RunLog
from engine.lab import Lab, Target
from engine.ledger import Ledger
from engine.lent import know_lent_hosts
from engine.masking import Masker
from engine.outside import Ask, Online, target_of
from engine.target import Access, lab_folder, open_target, open_world
from engine.world import World


@dataclass(frozen=True)
class Site:
    """One lab, its world and the ledger that remembers it."""

    lab: Lab
    world: World
    ledger: Ledger
    access: Access


class Session:
    """Opens what a command needs, once each, and closes it at the end.

    `say` tells the user what takes time (the sandbox starting, say); `ask` asks for a key's passphrase, None
    where nobody can be asked.
    """

    def __init__(
        self, say: Callable[[str], None], ask: Callable[[str], str | None] = lambda question: None
    ) -> None:
        self._say = say
        self._passphrases = Passphrases(ask)
        self._access: dict[str, Access] = {}
        self._sites: list[Site] = []
        self._ledgers: dict[str, Ledger] = {}
        self._online: dict[Path, Online] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, sort: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for site in self._sites:
            site.world.hosts.close()

    def access(self, target: Target) -> Access:
        """The way to a target; labs on the same target share it."""
        name = repr(target)
        if name not in self._access:
            self._access[name] = open_target(target, say=self._say)
        return self._access[name]

    def ledger(self, place: str) -> Ledger:
        """The ledger at `place`, a path. Raises LabctlError where it cannot be opened."""
        if place not in self._ledgers:
            self._ledgers[place] = open_ledger(place)
        return self._ledgers[place]

    def online(self, inventory: Path, ask: Ask | None = None) -> Online:
        """What loading with `inventory` may ask of the world; one for all labs, so nothing is asked twice.

        `ask` tells the sensitive outputs of other labs.
        """
        if inventory not in self._online:
            self._online[inventory] = Online(
                lambda: self.access(target_of(inventory)), ledger=self.ledger, ask=ask
            )
        return self._online[inventory]

    def open(self, lab: Lab) -> Site:
        """The lab with its world and ledger."""
        access = self.access(lab.target)
        log = RunLog(lab_folder(lab) / "run.log", Masker(lab.secrets).text)
        asker = self._online.get(lab.inventory or Path()) or Online(lambda: access)
        world = replace(
            open_world(lab, log=log, access=access, passphrases=self._passphrases), caller=asker.address
        )
        ledger = self.ledger(lab.ledger)
        know_lent_hosts(lab, world, ledger, self.access)
        site = Site(lab, world, ledger, access)
        self._sites.append(site)
        return site


def open_ledger(place: str) -> Ledger:
    """The ledger at `place`, a file's path. Raises LabctlError where it cannot be opened."""
    from engine.ledger.sqlite import SqliteLedger

    if "://" in place:
        raise LabctlError(f"A ledger cannot be kept at {place}.", "Give the path of a file in the inventory.")
    return SqliteLedger(Path(place))
