"""One resource as wanted against what is there of it.

The fields that differ, and the values others may use.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

from engine.change import Entry, FieldChange
from engine.digest import keyed_hash
from engine.masking import MASK, Masker
from engine.refs import holds_unknown
from engine.resource import SECRET, UNREAD, Mark, Resource, Values, plain
from engine.tags import FIELD as TAGS
from engine.tags import owed

WHOLE = "*"
"""Under this name an entry's digests keep the hash of everything wanted."""
_OPEN: Final = Masker(())
"""Hides nothing."""


def marks(kind: type[Resource], name: str) -> Collection[Mark]:
    """What the annotation of field `name` says about it."""
    field = kind.model_fields.get(name)
    return () if field is None else field.metadata


def is_secret(kind: type[Resource], name: str) -> bool:
    """Whether a value of `kind` must not be shown: a Secret field or a sensitive output."""
    output = kind.outputs.get(name)
    return SECRET in marks(kind, name) or (output is not None and output.sensitive)


def hashes_of_secrets(resource: Resource, masker: Masker) -> frozenset[str]:
    """The values of `resource` that are a hash of something with a secret of the lab in it."""
    return frozenset(name for name, text in resource.in_full().items() if masker.finds(text))


def is_hashed(kind: type[Resource], name: str) -> bool:
    """Whether a change of the field is seen by its keyed hash in the ledger."""
    return any(mark in (SECRET, UNREAD) for mark in marks(kind, name))


def wanted_values(resource: Resource, entry: Entry | None = None) -> Values:
    """What the playbook asks for, and the defaults of what it asked for last time.

    A field left None is not asked.
    """
    also = entry.set_fields if entry is not None and entry.kind == type(resource).kind else ()
    return {name: value for name, value in resource.wanted(also).items() if value is not None}


def differences(
    resource: Resource,
    there: Values,
    entry: Entry,
    *,
    key: bytes,
    tags: Mapping[str, str] | None = None,
    ignore: Collection[str] = (),
    hide: bool = False,
    masker: Masker = _OPEN,
) -> tuple[FieldChange, ...]:
    """The fields of `there` that are not as `resource` wants them; with `hide` their values are left out.

    `tags` are those it is to bear; what differs in them comes last, as a field of its own.

    Where what is wanted now, or was at the last apply, holds something that `masker` would hide, what is
    there is left out: it may hold a secret of before that nobody knows any more.
    """
    found: list[FieldChange] = []
    behind = hashes_of_secrets(resource, masker)
    for name, wanted in wanted_values(resource, entry).items():
        if name in ignore or not _differs(resource, name, wanted, there, entry, key):
            continue
        secret = hide or is_secret(type(resource), name) or name in behind
        unread = is_hashed(type(resource), name)
        is_ = type(resource).counted(name, wanted, there.get(name))
        was = type(resource).counted(name, wanted, entry.outputs.get(name))
        found.append(
            FieldChange(
                name,
                was=None if secret or unread else was,
                is_=None if secret or unread else _shown(name, is_, wanted, entry, masker),
                wanted=None if secret else wanted,
                replaces=resource.replaces(name, there),
                secret=secret,
            )
        )
    due = owed_tags(type(resource), tags, there, entry, ignore)
    return (*found, _tags_change(due, there, entry, hide, masker)) if due else tuple(found)


def owed_tags(
    kind: type[Resource],
    wanted: Mapping[str, str] | None,
    there: Values,
    entry: Entry,
    ignore: Collection[str] = (),
) -> dict[str, str | None]:
    """By key, the tags to set on what is `there`, and with None those to take away.

    None at all where the kind has no tags that change in place, or the thing was there before labctl.
    """
    if wanted is None or not kind.tagged or entry.adopted or TAGS in ignore or TAGS not in there:
        return {}
    return owed(wanted, there[TAGS], entry.tags)


def _tags_change(
    due: Mapping[str, str | None], there: Values, entry: Entry, hide: bool, masker: Masker
) -> FieldChange:
    """What is due of tags as a field, with nothing but the keys that differ."""
    if hide:
        return FieldChange(TAGS, None, None, None, secret=True)
    # What held a secret when it was applied is not among the outputs that are remembered.
    held_one = bool(entry.outputs and entry.tags) and TAGS not in entry.outputs
    before = entry.outputs.get(TAGS)
    return FieldChange(
        TAGS,
        was=None if before is None else {key: before[key] for key in due if key in before},
        is_={
            key: MASK if held_one else _shown_item(there[TAGS][key], text, masker)
            for key, text in due.items()
            if key in there[TAGS]
        },
        wanted={key: text for key, text in due.items() if text is not None},
    )


def _shown(name: str, there: Any, wanted: Any, entry: Entry, masker: Masker) -> Any:
    """What is there, without what may be a secret of before."""
    # What held a secret when it was applied is not among the outputs that are remembered.
    held_one = bool(entry.outputs) and name in entry.set_fields and name not in entry.outputs
    if isinstance(wanted, Mapping) and isinstance(there, Mapping) and not held_one:
        return {key: _shown_item(value, wanted.get(key), masker) for key, value in there.items()}
    return MASK if there is not None and held_one else _shown_item(there, wanted, masker)


def _shown_item(there: Any, wanted: Any, masker: Masker) -> Any:
    return MASK if there is not None and masker.value(wanted) != wanted else there


def _differs(resource: Resource, name: str, wanted: Any, there: Values, entry: Entry, key: bytes) -> bool:
    if holds_unknown(wanted):
        return True
    if not is_hashed(type(resource), name):
        return type(resource).differs(name, wanted, there.get(name))
    digest = entry.digests.get(name)
    if digest is None:
        # Never applied by labctl: setting it once more does no harm, replacing what is there would.
        return not resource.replaces(name, there)
    return digest != keyed_hash(key, wanted)


def unlike(
    resource: Resource, there: Values, *, ignore: Collection[str] = ()
) -> Iterator[tuple[str, Any, Any]]:
    """Name, reading and wish of each field that was applied and does not read as wanted."""
    for name, wanted in wanted_values(resource).items():
        if name in ignore or is_hashed(type(resource), name):
            continue
        if type(resource).differs(name, wanted, there.get(name)):
            yield name, there.get(name), wanted


def digests(resource: Resource, key: bytes) -> dict[str, str]:
    """Keyed hashes of the fields that are not kept, and of all that is wanted; unknown values have none."""
    wanted = resource.wanted()
    hashed = {
        name: keyed_hash(key, value)
        for name, value in wanted.items()
        if value is not None and is_hashed(type(resource), name) and not holds_unknown(value)
    }
    return hashed if holds_unknown(wanted) else {**hashed, WHOLE: keyed_hash(key, wanted)}


def usable_values(
    resource: Resource,
    there: Values | None = None,
    *,
    without: Collection[str] = (),
    ignore: Collection[str] = (),
) -> Values:
    """What other resources may use of `resource` now: its fields as wanted, and what was read of it.

    `without` are the names that a pending change unsettles; `ignore` the fields whose wish does not count.
    """
    fields = {name: plain(getattr(resource, name)) for name in type(resource).model_fields}
    asked = {
        name: value
        for name, value in fields.items()
        if value is not None and name in resource.model_fields_set and name not in ignore
    }
    defaults = {name: value for name, value in fields.items() if value is not None}
    values = {**defaults, **(there or {}), **asked}
    return {name: value for name, value in values.items() if name not in without}


def words_for(resource: Resource, fields: Collection[FieldChange], there: Mapping[str, Any]) -> str:
    """The cause of an update or replacement in words: what differs, and whether somebody else changed it."""
    return ", ".join(_word_for(resource, field, there) for field in fields)


def _word_for(resource: Resource, field: FieldChange, there: Mapping[str, Any]) -> str:
    told = None
    if field.name == TAGS and type(resource).tagged:
        told = ", ".join(_tag_words(field))
    elif not field.secret and not holds_unknown(field.wanted):
        is_ = type(resource).counted(field.name, field.wanted, there.get(field.name))
        if field.is_ in (None, is_):
            told = type(resource).describe_difference(field.name, field.wanted, is_)
    words = told or f"{field.name} {'differ' if field.name == TAGS else 'differs'}"
    drifted = field.was is not None and not holds_unknown(field.wanted) and field.was == field.wanted
    return f"{words} (changed outside labctl)" if drifted and field.was != field.is_ else words


def _tag_words(field: FieldChange) -> Iterator[str]:
    there, wanted = field.is_ or {}, field.wanted or {}
    for key, text in wanted.items():
        if key not in there:
            yield f"tag {key} is missing"
        elif there[key] == MASK:
            yield f"tag {key} differs"
        else:
            yield f"tag {key}: {there[key]} instead of {text}"
    yield from (f"tag {key} is no longer wanted" for key in there if key not in wanted)
