"""Until when a version served, from the decisions alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from ml.promotion.decisions import Change, Decision
from ml.promotion.service_times import terms

T0 = datetime(2026, 11, 28, 12, tzinfo=UTC)


def history(*told: tuple[Change, str, str]) -> list[str]:
    """How each decision that began a term says that it ended."""
    decided = [
        Decision(T0 + timedelta(minutes=place), "quantstream-risk", version, change, before, "a run", "why")
        for place, (change, version, before) in enumerate(told)
    ]
    found = terms(decided)
    return [f"{one.version}: {found[one.key]}" for one in decided if one.key in found]


def test_each_term_ends_with_the_version_that_came_next() -> None:
    assert history(
        (Change.PROMOTED, "1", ""),
        (Change.REFUSED, "2", "1"),
        (Change.REFERENCE, "1", ""),
        (Change.PROMOTED, "3", "1"),
        (Change.ROLLED_BACK, "1", "3"),
        (Change.FOUND, "9", "1"),
    ) == [
        "1: it served until 2026-11-28 12:03 UTC, when version 3 was promoted",
        "3: it served until 2026-11-28 12:04 UTC, when version 1 was rolled back to",
        "1: it served until 2026-11-28 12:05 UTC, when version 9 was found in its place",
        "9: it serves since then",
    ]


def test_what_the_record_does_not_know_is_not_made_up() -> None:
    assert history((Change.PROMOTED, "1", ""), (Change.PROMOTED, "2", "1"), (Change.PROMOTED, "3", "1")) == [
        "1: it served until 2026-11-28 12:01 UTC, when version 2 was promoted",
        "2: until when it served is not on record: version 1 did when 3 came",  # its alias may never have moved
        "3: it serves since then",
    ]
    assert history((Change.PROMOTED, "1", ""), (Change.PROMOTED, "1", "1")) == ["1: it serves since then"]
