"""Cards and tables as HTML."""

from __future__ import annotations

from dashboard import overview_tables, panels
from dashboard.charts import Day
from dashboard.overview_tables import SymbolLine
from dashboard.panels import Tile
from dashboard.stage_status import Stage
from quantstream.messages.payloads import DeadRecord, Event, Forecast, Signal


def test_any_symbol_has_a_link_that_leads_to_it() -> None:
    html = overview_tables.symbols(
        [SymbolLine("币安人生USDT", None, 2, None, 0), SymbolLine("BTCUSDT_240628", None, 2, None, 0)]
    )
    assert "?symbol=%E5%B8%81%E5%AE%89%E4%BA%BA%E7%94%9FUSDT" in html
    assert "<b>币安人生USDT</b>" in html
    assert "?symbol=BTCUSDT_240628" in html


def test_the_signal_shows_its_action_shares_and_reasons_escaped(score) -> None:
    html = panels.signal_card(score())
    assert '<div class="qs-action up" data-testid="action">BUY</div>' in html
    assert "Sell <b>13.0%</b>" in html
    assert "Buy <b>58.0%</b>" in html
    assert "<li>momentum is &lt;high&gt;</li>" in html
    assert "candle 00:00 UTC" in html


def test_the_signal_says_what_usually_happens_what_the_tails_lean_to_and_what_buying_is_worth(score) -> None:
    html = panels.signal_card(score(signal=Signal("Hold", 0.25, 0.55, 0.2, 0.462, 0.05, -0.00012, 0.002)))
    assert '<b class="down">down</b>, 54 of 100 hours' in html
    assert '<b class="up">up</b>, far rises likelier by 5.0 points' in html
    assert "expected −1.2 bp before costs of 20.0 bp" in html
    even = panels.signal_card(score(signal=Signal("Hold", 0.25, 0.5, 0.25, 0.501, 0.0, 0.0, 0.0004)))
    assert '<b class="flat">even</b>, 50 of 100 hours' in even
    assert "far moves as likely either way" in even
    assert "expected 0.0 bp before costs of 4.0 bp" in even


def test_a_signal_of_an_older_version_lends_its_usual_direction_from_the_forecast_or_says_that_it_has_none(
    score,
) -> None:
    older = Signal("Hold", 0.25, 0.55, 0.2, tail_lean=0.05, round_trip_cost=0.002)
    hour = Forecast("1h", [0.1, 0.5, 0.9], [-0.01, 0.00013, 0.01], [99.0, 100.0, 101.0])
    html = panels.signal_card(score(signal=older, forecasts=[hour]))
    assert '<b class="up">up</b>, median +1.3 bp (forecast)' in html
    assert "the forecast&#x27;s median" in html
    assert "direction-worth" not in html
    assert "not known" in panels.signal_card(score(signal=older, forecasts=[]))
    assert "direction-" not in panels.signal_card(score())  # a score of before


def test_an_abstaining_model_says_why(score) -> None:
    silent = score(signal=None, risk=None, forecasts=[], abstained="only 12 of 300 candles")
    assert "only 12 of 300 candles" in panels.signal_card(silent)
    assert "only 12 of 300 candles" in panels.forecast_card(silent, 2)
    assert "only 12 of 300 candles" in panels.risk_card(silent)


def test_without_a_score_each_card_says_so() -> None:
    assert "no score yet" in panels.signal_card(None)
    assert "no forecast yet" in panels.forecast_card(None, 2)
    assert "no risk score yet" in panels.risk_card(None)


def test_targets_have_median_change_and_range(score) -> None:
    html = panels.forecast_card(score(), 2)
    assert (
        '<tr data-testid="target-15m"><th>15m</th><td><b>100.00</b></td>'
        '<td class="flat">+0.00%</td><td>97.00</td><td>103.00</td></tr>'
    ) in html
    assert "<th>10%</th><th>90%</th>" in html


def test_the_needle_turns_with_the_risk_and_novelty_is_put_in_words(score) -> None:
    html = panels.risk_card(score(risk=75.0, novelty=0.8))
    assert "rotate(45.0deg)" in html
    assert '<span class="down">high</span>' in html
    assert "novel: unlike what the models know" in html
    assert "familiar" in panels.risk_card(score())


def test_a_flagged_trade_is_readable_and_escaped(anomaly) -> None:
    html = panels.anomaly_feed([anomaly()], with_symbol=True)
    for part in ("2026-01-16 00:00:10", "<b>BTCUSDT</b>", '<span class="up">buy</span> 0.5 @ <b>105.00</b>', "0.93"):
        assert part in html
    assert "price &lt;far&gt; away" in html
    assert "no flagged trades" in panels.anomaly_feed([])
    assert ">stale<" not in html
    assert ">stale<" in panels.anomaly_feed([anomaly(stale=True)])


def test_grave_events_stand_out() -> None:
    html = panels.event_feed(
        [Event("ingest", "feed_stalled", "no frame for <30> s", 0), Event("score", "model_swapped", "3", 0)]
    )
    assert '<span class="qs-badge warn">feed stalled</span>' in html
    assert '<span class="qs-badge flat">model swapped</span>' in html
    assert "no frame for &lt;30&gt; s" in html


def test_tiles_are_escaped_and_addressable() -> None:
    html = panels.strip([Tile("Open gaps", "<2>", "warn", 'a "hint"')], "pipeline")
    assert html == (
        '<div class="qs-strip qs-pipeline"><div class="qs-tile" title="a &quot;hint&quot;" data-testid="tile-open-gaps">'
        '<span class="qs-label">Open gaps</span><span class="qs-value warn">&lt;2&gt;</span></div></div>'
    )


def test_the_overview_has_a_row_for_each_symbol_scored_or_not(score) -> None:
    day = Day(64_000.0, -0.01, 1, 1, 1, 2.5e9, 1)
    html = overview_tables.symbols([SymbolLine("BTCUSDT", day, 2, score(), 3), SymbolLine("ETHUSDT", None, 2, None, 0)])
    for part in (
        'href="?symbol=BTCUSDT"',
        "64,000.00",
        "−1.00%",
        "2.50B",
        '<b class="up">Buy</b>',
        "58%",
        "elevated",
        "0.31",
    ):
        assert part in html
    assert "no score yet" in html


def test_processes_tell_their_state_in_words() -> None:
    html = overview_tables.stages([Stage("sink", "not ready", "waiting for <lake>"), Stage("broker", "unasked")])
    assert '<span class="qs-dot bg-warn"></span>not ready' in html
    assert "waiting for &lt;lake&gt;" in html
    assert "not known" in html


def test_dead_letters_show_what_and_why_escaped() -> None:
    html = overview_tables.dead([DeadRecord("ingest", "no price", "<script>", 1_768_521_600_000_000)])
    assert "<code>&lt;script&gt;</code>" in html
    assert "2026-01-16 00:00:00" in html


def test_figures_of_a_model_are_in_words_with_their_units() -> None:
    html = overview_tables.metrics({"pinball_bp": 3.14159, "ece": 0.0123, "auc": 0.71, "my_<own>": 0.00123456})
    for part in (
        "<dt>quantile loss of the return, mean of the three horizons</dt><dd>3.142 bp</dd>",
        "(calibration error)</dt><dd>1.23 %</dd>",
        'title="higher is better; auc in MLflow"',
        "<dt>my &lt;own&gt;</dt><dd>0.001235</dd>",  # whoever logs a figure of their own sees it as they named it
    ):
        assert part in html
    assert html.index("auc in MLflow") < html.index("ece in MLflow") < html.index("pinball_bp in MLflow")


def test_advice_of_a_model_past_its_age_limit_says_so_and_that_of_others_does_not(score) -> None:
    old = score(stale=["quantstream-signal"])
    assert "stale: the signal model is past its age limit" in panels.signal_card(old)
    assert "stale" not in panels.forecast_card(old, 2) + panels.risk_card(old) + panels.signal_card(score())
    assert "stale: the risk model" in panels.risk_card(score(stale=["quantstream-risk"]))
    assert "stale: the forecast model" in panels.forecast_card(score(stale=["quantstream-forecast"]), 2)
    assert ">stale<" in overview_tables.symbols([SymbolLine("BTCUSDT", None, 2, old, 0)])
