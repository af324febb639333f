"""The report's page: whole, in one file, without scripts, and safe whatever a symbol is called."""

from __future__ import annotations

from ml.evaluation import evaluation_report

FOUND = {
    "pooled": {"auc_gain": 0.03, "auc": 0.9},
    "symbols": {"<b>USDT": {"auc_gain": 0.02, "auc": 0.88}},
    "rows": 1234,
    "by_hour": {"00": {"auc_gain": 0.01}, "01": {"auc_gain": -0.01}},
    "by_volatility": {},
    "curves": {"reliability": [[0.1, 0.12], [0.5, 0.45]]},
}


def test_the_page_holds_figures_and_plots_and_nothing_foreign() -> None:
    page = evaluation_report.page({"risk": FOUND, "seconds": {"fit": 1.0}})
    assert page.startswith("<!doctype html>")
    assert "1,234 rows judged" in page
    assert page.count("<svg") == 2
    assert "&lt;b&gt;USDT" in page
    assert "<b>USDT" not in page
    assert "<script" not in page
    assert "http" not in page


def test_a_forecasts_coverage_is_shown_month_by_month() -> None:
    months = {"BTCUSDT": {"2024-01": 0.91}, "ETHUSDT": {"2024-01": 0.88, "2024-02": 0.93}}
    figures = {"pinball_skill_1h": 0.02, "coverage_90_1h": 0.9}
    found = {**FOUND, "pooled": figures, "symbols": {}, "by_hour": {}, "curves": {}, "coverage_by_month": months}
    page = evaluation_report.page({"forecast": found, "seconds": {}})
    assert "Coverage of the 90 % interval at 1h, by month" in page
    assert page.index("2024-01") < page.index("2024-02")
