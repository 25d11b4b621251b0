"""Labs that use other labs: what the ledger tells of those, and keeping what is used from being destroyed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from engine.change import Plan
from engine.errors import Invalid, Locked, Problem
from engine.lab import Lab, Use, UsedLab
from engine.ledger import KeptOutputs
from engine.masking import Masker
from engine.refs import UNKNOWN, holds_unknown
from engine.templating import Filling, scope_of

if TYPE_CHECKING:
    from engine.ledger import Ledger

    Ask = Callable[[Ledger, str, str], Any]


def used_lab(ledger: Ledger, name: str, ask: Ask | None = None) -> UsedLab | None:
    """What `ledger` remembers of the lab `name`; None where nothing of it is there.

    `ask` tells the values of sensitive outputs, which are not kept.
    """
    entries = [entry for entry in ledger.entries(name) if entry.id is not None and not entry.surplus]
    kept = ledger.outputs(name)
    if kept is None and not entries:
        return None
    kept = kept or KeptOutputs({})

    def asked(output: str) -> Any:
        return UNKNOWN if ask is None else ask(ledger, name, output)

    return UsedLab(
        name=name,
        outputs={**kept.values, **dict.fromkeys(kept.unknown, UNKNOWN)},
        sensitive=kept.sensitive,
        hosts=frozenset(entry.address for entry in entries if entry.ssh is not None),
        uses=frozenset(_below(ledger, name)),
        ask=asked,
    )


def _below(ledger: Ledger, name: str) -> set[str]:
    """The labs that `name` uses, and those that they use."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        for use in ledger.uses(waiting.pop()):
            if use.lab not in found:
                found.add(use.lab)
                waiting.append(use.lab)
    return found


def to_keep(lab: Lab, outputs: Mapping[str, Any]) -> KeptOutputs:
    """What of a lab's outputs may be kept for others: nothing secret."""
    masker = Masker(lab.secrets)
    sensitive = {name for name, value in outputs.items() if masker.value(value) != value}
    sensitive |= lab.sensitive_outputs & outputs.keys()
    unknown = {name for name, value in outputs.items() if holds_unknown(value)} - sensitive
    told = {name: value for name, value in outputs.items() if name not in sensitive | unknown}
    return KeptOutputs(told, frozenset(unknown), frozenset(sensitive))


def begin(ledger: Ledger, lab: Lab) -> list[str]:
    """Remember, before anything is made, what `lab` uses; the labs that it has not used before.

    Raises Locked where one of them is being destroyed now.
    """
    before = {use.lab: use for use in ledger.uses(lab.name)}
    wanted = {use.lab: use for use in lab.uses}
    if not before and not wanted:
        return []
    # Until this run is through, things may still hang on what was used before.
    ledger.use(lab.name, [*({**before, **wanted}).values()])
    for name in wanted:
        holder = ledger.holder(name)
        if holder is not None and holder.command == "destroy":
            ledger.use(lab.name, before.values())
            raise Locked(
                f"{holder.who} is destroying {name} now, which {lab.name} uses",
                "nothing was done; apply that lab again first",
            )
    return [name for name in wanted if name not in before]


def end(ledger: Ledger, lab: Lab, *, destroyed: bool) -> list[str]:
    """Let go of what `lab` uses no more; the labs that it has let go of altogether."""
    before = ledger.uses(lab.name)
    now: Collection[Use] = () if destroyed else lab.uses
    if {*before} != {*now}:
        ledger.use(lab.name, now)
    return sorted({use.lab for use in before} - {use.lab for use in now})


def refuse_while_used(ledger: Ledger, lab: Lab, plan: Plan, *, destroy: bool) -> None:
    """Raise Invalid where `plan` takes away what other labs use."""
    users = ledger.users(lab.name)
    if not users:
        return
    going = {change.address for change in plan.changes if change.action in ("delete", "replace")}
    stays = any(change.action == "keep" and not change.forgets for change in plan.changes)
    if destroy and not stays:
        raise Invalid([_destroyed_problem(lab, users)])
    problems = list(_taken_away(lab, users, going, destroy=destroy))
    if problems:
        raise Invalid(problems)


def _destroyed_problem(lab: Lab, users: Collection[str]) -> Problem:
    names = _listed(users)
    return Problem(
        None,
        f"{lab.name} is used by {names}",
        "\n".join(["destroy first what uses it:", *(f"  labctl destroy {user}" for user in users)]),
    )


def _taken_away(lab: Lab, users: Mapping[str, Use], going: set[str], *, destroy: bool) -> Iterator[Problem]:
    """A problem for each thing that goes and that others use, as far as the playbook tells."""
    behind = _behind_outputs(lab, users.values())
    for address in sorted(going):
        by = {
            user: [
                *([f"the host {address}"] if address in use.hosts else []),
                *(f"the output {name}" for name in sorted(use.outputs) if address in behind.get(name, ())),
            ]
            for user, use in users.items()
        }
        told = [f"{user} ({', '.join(what)})" for user, what in by.items() if what]
        if told:
            verb = "deleted" if destroy or address not in lab.resources else "replaced"
            words = f"{address} would be {verb}, and is used by {_listed(told)}"
            names = [user for user, what in by.items() if what]
            remedy = [
                f"leave it alone with `--skip {address}`, or destroy first what uses it:",
                *(f"  labctl destroy {user}" for user in names),
            ]
            yield Problem(None, words, "\n".join(remedy))


def _behind_outputs(lab: Lab, uses: Collection[Use]) -> dict[str, set[str]]:
    """By output that others use, the addresses of what it tells of."""
    found: dict[str, set[str]] = {}
    scope = scope_of(replace(lab, secrets=frozenset()), {})
    for name in sorted({name for use in uses for name in use.outputs}):
        if name in lab.outputs:
            filling = Filling(scope)
            filling.of(lab.outputs[name])
            found[name] = {ref.address for ref in filling.touched}
    return found


def _listed(words: Collection[str]) -> str:
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last
