"""How an API server joins what is sent with what is there: strategic and JSON merge patches, and fields that have owners."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from typing import Any

Json = dict[str, Any]
Path = tuple[str, ...]
KEYS = (
    "name",
    "mountPath",
    "containerPort",
    "port",
    "topologyKey",
    "ip",
    "uid",
    "key",
    "id",
)  # of lists that are merged
REFUSED = object()


def key_of(items: list[Any]) -> str | None:
    """Return what tells the entries of a list apart; nothing for a list that is one value as a whole."""
    if not items or not all(isinstance(one, dict) for one in items):
        return None
    key = next((key for key in KEYS if all(key in one for one in items)), None)
    return key if key and len({one[key] for one in items}) == len(items) else None


def json_merge(live: Any, patch: Any) -> Any:
    """Return what RFC 7386 makes of both."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    result = copy.deepcopy(live) if isinstance(live, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = json_merge(result.get(key), value)
    return result


def strategic(live: Any, patch: Any) -> Any:
    """Return what a strategic merge patch makes of what is there; directives other than `$patch: delete` only order lists."""
    if isinstance(patch, dict):
        result = copy.deepcopy(live) if isinstance(live, dict) else {}
        for key, value in patch.items():
            if key.startswith("$"):
                continue
            if value is None:
                result.pop(key, None)
            else:
                result[key] = strategic(result.get(key), value)
        return result
    key = key_of([one for one in patch if "$patch" not in one or len(one) > 1]) if isinstance(patch, list) else None
    if key is None or not isinstance(live, list):
        return copy.deepcopy(patch)
    return _merge_lists(live, patch, key)


def _merge_lists(live: list[Any], patch: list[Json], key: str) -> list[Any]:
    entries = {one[key]: copy.deepcopy(one) for one in live if key in one}
    for one in patch:
        if one.get("$patch") == "delete":
            entries.pop(one[key], None)
        else:
            entries[one[key]] = strategic(entries.get(one[key]), one)
    return list(entries.values())


def leaves(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Go through the fields that somebody owns when they applied this."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from leaves(inner, (*path, key))
    elif isinstance(value, list) and (key := key_of(value)):
        for one in value:
            yield from leaves(one, (*path, f"{key}={one[key]}"))
    else:
        yield path, value


def without(value: Any, gone: Iterable[Path]) -> Any:
    """Return a value less some of its fields, and less the objects that are empty by that."""
    result = copy.deepcopy(value)
    for path in gone:
        _remove(result, path)
    return result


def _remove(value: Any, path: Path) -> None:
    head, *rest = path
    inner = _inner(value, head)
    if inner is REFUSED:
        return
    if rest:
        _remove(inner, tuple(rest))
    if not rest or inner in ({}, []):
        if isinstance(value, dict):
            value.pop(head, None)
        else:
            value.remove(inner)


def _inner(value: Any, head: str) -> Any:
    if isinstance(value, dict):
        return value.get(head, REFUSED)
    key, _, wanted = head.partition("=")
    return next((one for one in value if isinstance(one, dict) and str(one.get(key)) == wanted), REFUSED)


def found(value: Any, path: Path) -> Any:
    """Return the field at a path, or `REFUSED` where there is none."""
    for head in path:
        if not isinstance(value, dict | list):
            return REFUSED
        value = _inner(value, head)
        if value is REFUSED:
            return REFUSED
    return value
