"""The report: the verdict first, everything in words, in one file without scripts, safe whatever a symbol is called."""

from __future__ import annotations

import re
from typing import Any

import pytest

from ml.evaluation import evaluation_report
from ml.metric_words import words
from ml.training import train
from quantstream.messages.models import MODEL_KINDS

NAN = float("nan")
FOUND: dict[str, Any] = {
    "kind": "risk",
    "version": "7",
    "outcome": "refused",
    "verdict": "Refused at the check “champion”: its loss is 3.0 % above that of the champion, version 6.",
    "checks": [
        {"name": "finite", "passed": True, "sentence": "all predictions are numbers"},
        {"name": "champion", "passed": False, "sentence": "worse <b>surely</b>"},
    ],
    "pooled": {
        "brier": 0.05,
        "auc_gain": 0.03,
        "auc_gain_low": 0.01,
        "auc_gain_high": 0.05,
        "auc": 0.9,
        "ece": NAN,
        "brier_gain_p": 0.2,
    },
    "symbols": {"<b>USDT": {"auc": 0.88, "brier": NAN}, "$x$USDT": {"auc": 0.8}},
    "rows": 1234,
    "by_hour": {"00": {"auc": NAN}, "01": {"auc": 0.8}},
    "by_volatility": {},
    "curves": {"reliability": [[0.1, 0.12, 0.1, 0.14], [0.5, 0.45, 0.4, 0.5], [0.9, NAN, NAN, NAN]]},
    "skills": {
        "by_hour": {"00": [0.1, -0.1, 0.3], "01": [NAN, NAN, NAN], "02": [-0.1, -0.2, 0.1]},
        "by_symbol": {"<b>USDT": [0.1, 0.0, 0.2], "$x$USDT": [0.1, 0.0, 0.2]},
    },
    "baselines": {"brier": {"the HAR regression": {"excess": -0.1, "low": -0.2, "high": 0.0, "told": "10.0 % below"}}},
    "rivals": [
        {"role": "champion", "version": "6", "compared": {"brier": {"excess": 0.03, "low": 0.01, "high": 0.05}}}
    ],
    "notes": ["survivorship <i>"],
}


def text_of(page: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL)))


def test_the_page_begins_with_the_verdict_and_holds_nothing_foreign() -> None:
    page = evaluation_report.page(FOUND)
    assert page.startswith("<!doctype html>")
    text = text_of(page.partition("<body>")[2]).strip()
    assert text.startswith(
        "Risk model, version 7: refused Refused at the check “champion”: its loss is 3.0 % above that of"
    )
    assert "1,234 rows judged" in page
    assert page.count("<svg") == 4
    for foreign in ("<script", "http", "<b>USDT", "<b>surely", "<i>", "<?xml", "DOCTYPE svg"):
        assert foreign not in page, foreign


def test_figures_are_in_words_with_unit_interval_and_direction() -> None:
    text = text_of(evaluation_report.page(FOUND))
    assert "AUC above that of the HAR regression 3.00 % 1.00 % to 5.00 % higher is better" in text
    assert "Brier score of the probability of an abnormal hour 0.05 lower is better" in text
    assert "unknown" in text
    for raw in ("auc_gain", "brier_gain", "by_hour", "nan", "said against came"):
        assert raw not in text, raw


def test_every_plot_has_its_axes_labelled_and_no_broken_figure() -> None:
    page = evaluation_report.page(FOUND)
    plots = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    for plot, labels in zip(
        plots,
        (
            (
                "Brier score of the probability of an abnormal hour: difference from the other's (%; left of 0 is better)",
                "champion, version 6",
            ),
            ("hour of the day (UTC)", "squared error saved against the HAR regression (%)"),
            ("predicted probability of an abnormal hour (%)", "hours that were abnormal (%)"),
            ("symbol", "&lt;b&gt;USDT"),
        ),
        strict=True,
    ):
        told = " ".join(re.findall(r"<text[^>]*>([^<]*)", plot))
        assert all(label in told for label in labels), (labels, told)
        assert "nan" not in plot.lower().replace("finance", "")


def test_a_refused_model_that_was_never_judged_still_has_a_page() -> None:
    page = evaluation_report.page(
        {key: FOUND[key] for key in ("kind", "version", "outcome", "verdict", "checks", "notes")}
    )
    assert "<svg" not in page
    assert "How good it is" not in page


def test_a_forecasts_coverage_is_drawn_month_by_month() -> None:
    shares = {"BTCUSDT 2024-01": 0.91, "ETHUSDT 2024-01": 0.88, "ETHUSDT 2024-02": 0.93}
    months = {key: [share, share - 0.02, share + 0.02] for key, share in shares.items()}
    found = {
        "kind": "forecast",
        "pooled": {"pinball_bp": 4.2},
        "symbols": {},
        "rows": 3,
        "skills": {"coverage_by_month": months},
    }
    page = evaluation_report.pages({"forecast": found, "seconds": {}})
    assert "inside the 90 % interval (%)" in page
    assert page.index("2024-01") < page.index("2024-02")
    assert "Judged without the gate: its quantile loss of the return, mean of the three horizons is 4.2 bp." in page


@pytest.mark.slow
def test_every_figure_of_every_judgement_has_words(tasks: dict[str, train.Task], models: dict[str, Any]) -> None:
    from ml.metric_words import known

    for kind in MODEL_KINDS:
        report = train.judge(tasks[kind], models[kind])
        assert [name for name in (*report.metrics, *report.losses) if not known(name)] == []
        page = evaluation_report.pages({kind: report.fields()})
        assert "nan" not in text_of(page).lower().replace("finance", "")


def test_after_many_candidates_the_page_says_so_and_shows_what_is_left() -> None:
    looks = {
        "sentence": "This is look number 5 at these held-out rows or some of them; 3 different candidates were tried"
    }
    found = {
        "risk": {**FOUND, "notes": [], "looks": looks, "deflated": {"tried": 3, "bounds": {"auc_gain": [-0.01, 0.07]}}}
    }
    text = text_of(evaluation_report.pages(found))
    assert "This is look number 5 at these held-out rows" in text
    assert "after 3 candidates" in text
    shown = words("auc_gain").value
    assert f"{shown(0.01)} to {shown(0.05)} {shown(-0.01)} to {shown(0.07)}" in text
    assert "candidates" not in text_of(evaluation_report.page(FOUND))
