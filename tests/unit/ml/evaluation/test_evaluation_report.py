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
