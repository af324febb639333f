"""Looks for tests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from ml.looks.look import Look

NOW = datetime(2026, 11, 28, 12, 0, 0, 123456, tzinfo=UTC)
FIRST = datetime(2024, 8, 1, tzinfo=UTC)


def look(candidate: str = "aa", kind: str = "risk", days: tuple[int, int] = (0, 30), symbols: str = "BTCUSDT") -> Look:
    """A look at some days of some symbols."""
    first, last = (FIRST + timedelta(days=day) for day in days)
    return Look(
        *(
            NOW,
            "evaluate by somebody",
            kind,
            candidate,
            "trial",
            "/data",
            "00ff",
            tuple(symbols.split()),
            first,
            last,
            100,
        ),
        settings='{"folds": 1}',
        code="commit 1a2b",
        figures='{"auc_gain": 0.03}',
    )
