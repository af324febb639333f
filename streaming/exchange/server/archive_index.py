"""What the archive lists, in the form of the object store that the real one lies in: pages of keys below a prefix, as XML."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from xml.sax.saxutils import escape

from quantstream.core.time import SECOND
from streaming.exchange.market.market_klines import INTERVALS

MOST = 1000  # keys and common prefixes of a page
PLACE = re.compile(
    r"data/(?P<market>spot|futures/um)/(?P<span>daily|monthly)/(?P<kind>klines|aggTrades|trades)/(?P<rest>.*)"
)
HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'


def keys_of(symbols: Iterable[str], market: str, prefix: str, begins_at: int, now: int) -> Iterator[str]:
    """Yield the keys below a prefix of a market whose symbols all began at `begins_at`; times in µs."""
    found = PLACE.fullmatch(prefix)
    if found is None or found["market"] != market:
        return
    name, _, inside = found["rest"].partition("/")
    for symbol in symbols:
        if not (symbol == name if inside or found["rest"].endswith("/") else symbol.startswith(name)):
            continue
        for interval in sorted(INTERVALS) if found["kind"] == "klines" else [""]:
            folder = f"data/{market}/{found['span']}/{found['kind']}/{symbol}/" + (f"{interval}/" if interval else "")
            if folder.startswith(prefix) or prefix.startswith(folder):
                for period in _periods(found["span"], begins_at, now):
                    key = f"{folder}{symbol}-{interval or found['kind']}-{period}.zip"
                    yield from (key, f"{key}.CHECKSUM")


def keys_in(folder: Path) -> list[str]:
    """Return the keys of files that lie in a folder, each with a checksum."""
    keys = [f"data/{path.relative_to(folder).as_posix()}" for path in folder.rglob("*.zip")]
    return [*keys, *(f"{key}.CHECKSUM" for key in keys)]


def page(keys: Iterable[str], prefix: str, delimiter: str, marker: str) -> str:
    """Return the page of keys and common prefixes after a marker."""
    entries = set[tuple[str, bool]]()
    for key in keys:
        if key.startswith(prefix):
            cut = key.find(delimiter, len(prefix)) if delimiter else -1
            entries.add((key, False) if cut < 0 else (key[: cut + len(delimiter)], True))
    after = sorted(entry for entry in entries if entry[0] > marker)
    shown, more = after[:MOST], len(after) > MOST
    parts = [
        f"<CommonPrefixes><Prefix>{escape(name)}</Prefix></CommonPrefixes>"
        if is_common
        else f"<Contents><Key>{escape(name)}</Key></Contents>"
        for name, is_common in shown
    ]
    following = f"<NextMarker>{escape(shown[-1][0])}</NextMarker>" if more and delimiter else ""
    truth = f"<IsTruncated>{str(more).lower()}</IsTruncated>"
    return f"{HEAD}<Prefix>{escape(prefix)}</Prefix>{following}{truth}{''.join(parts)}</ListBucketResult>"


def _periods(span: str, begins_at: int, now: int) -> Iterator[str]:
    at, today = (datetime.fromtimestamp(each // SECOND, UTC).date() for each in (begins_at, now))
    at = at.replace(day=1) if span == "monthly" else at
    while True:
        following = _following(at, span)
        if following > today:
            return
        yield f"{at:%Y-%m}" if span == "monthly" else f"{at:%Y-%m-%d}"
        at = following


def _following(at: date, span: str) -> date:
    return (at + timedelta(days=32)).replace(day=1) if span == "monthly" else at + timedelta(days=1)
