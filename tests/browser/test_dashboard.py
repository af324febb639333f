"""The page as its users meet it: what it shows, that it moves by itself, and that nothing it lacks breaks it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import LocatorAssertions, Page, expect

from ml.validation import pages
from ml.validation.shelf import Shelf
from quantstream.lake.quarantine import note, quarantine_of
from quantstream.lake.store import Lake
from tests.unit.ml.validation.markets import BAD, ROWS, gate, lake_of

pytestmark = [pytest.mark.browser, pytest.mark.broker]
WAIT_MS = 30_000


def rows(page: Page) -> dict[int, list[float]]:
    """Return the chart's rows by time."""
    pairs = page.evaluate("() => [...window.quantstream.view.rows]")
    return {int(time): row for time, row in pairs}


def wait_for_close(page: Page, price: float) -> None:
    page.wait_for_function("price => window.quantstream.view.newest()?.[4] === price", arg=price, timeout=WAIT_MS)


def tile(page: Page, name: str) -> LocatorAssertions:
    """Return what may be expected of a number in a strip."""
    return expect(page.get_by_test_id(f"tile-{name}").locator(".qs-value"))


def test_the_page_shows_candles_their_lines_and_the_score(site, tab, tmp_path: Path) -> None:
    page = tab.open(site.url)
    made = site.market.candles["BTCUSDT"]
    building = site.market.building["BTCUSDT"]
    wait_for_close(page, building.close / 1e8)
    shown = rows(page)
    for candle in made[-300:]:
        expected = [getattr(candle, name) / 1e8 for name in ("open", "high", "low", "close", "volume")]
        assert shown[candle.opened_at // 1_000_000][1:7] == [*expected, 0 if candle.is_complete else 1]
    assert rows(page)[building.opened_at // 1_000_000][6] == 2  # being built
    assert all(row[9] > row[10] > row[11] for time, row in shown.items() if row[9] is not None)
    expect(page.get_by_test_id("action")).to_have_text("BUY")
    expect(page.get_by_test_id("card-signal")).to_contain_text("Buy 58.0%")
    expect(page.get_by_test_id("direction-usually")).to_contain_text("down, 53 of 100 hours")
    expect(page.get_by_test_id("direction-tails")).to_contain_text("up, far rises likelier by 45.0 points")
    expect(page.get_by_test_id("direction-worth")).to_contain_text("expected +2.1 bp before costs of 20.0 bp")
    expect(page.get_by_test_id("card-signal")).to_contain_text("taker imbalance of 1 h is high")
    expect(page.get_by_test_id("risk")).to_have_text("41")
    expect(page.get_by_test_id("card-risk")).to_contain_text("elevated")
    expect(page.get_by_test_id("target-1h")).to_contain_text("+0.14%")
    expect(page.get_by_test_id("novelty")).to_contain_text("familiar")
    expect(page.get_by_test_id("card-anomalies")).to_contain_text("price 2.4% above the trades around it")
    expect(page.get_by_test_id("card-events")).to_contain_text("12 trades of BTCUSDT were missing")
    assert page.evaluate("() => window.quantstream.view.fan.rows.length") == 13
    page.screenshot(path=str(tmp_path / "market.png"), full_page=True)
    assert tab.errors == []


def test_a_symbol_can_be_linked_to_and_chosen(site, tab) -> None:
    page = tab.open(f"{site.url}/?symbol=ETHUSDT")
    wait_for_close(page, site.market.building["ETHUSDT"].close / 1e8)
    page.get_by_role("combobox").click()
    page.get_by_role("option", name="XRPUSDT").click()
    wait_for_close(page, site.market.building["XRPUSDT"].close / 1e8)
    assert page.evaluate("() => [window.quantstream.created, window.quantstream.view.symbol]") == [1, "XRPUSDT"]
    assert page.evaluate("() => window.quantstream.view.decimals") == 4
    expect(page).to_have_url(re.compile(r"\?symbol=XRPUSDT$"))
    assert all(row[4] < 10 for row in rows(page).values())  # nothing of the dearer symbol is left
    assert tab.errors == []


def test_an_unknown_symbol_in_the_address_falls_back_to_the_first_with_a_word(site, tab) -> None:
    page = tab.open(f"{site.url}/?symbol=DOGEUSDT")
    expect(page.get_by_test_id("stToast")).to_contain_text("DOGEUSDT is not followed here; showing BTCUSDT.")
    assert page.evaluate("() => window.quantstream.view.symbol") == "BTCUSDT"


def test_what_happens_appears_without_reloading(site, tab) -> None:
    page = tab.open(site.url)
    page.evaluate("() => { window.isSamePage = true }")
    market = site.market
    wait_for_close(page, market.trade("BTCUSDT", 0.7).close / 1e8)
    closed = market.close("BTCUSDT")
    page.wait_for_function(
        "at => window.quantstream.view.rows.get(at)?.[6] === 0", arg=closed.opened_at // 1_000_000, timeout=WAIT_MS
    )
    assert rows(page)[closed.opened_at // 1_000_000][4] == closed.close / 1e8
    market.score("BTCUSDT", action="Sell", risk=88.0)
    expect(page.get_by_test_id("action")).to_have_text("SELL", timeout=WAIT_MS)
    expect(page.get_by_test_id("card-risk")).to_contain_text("high")
    market.anomaly("BTCUSDT", reason="<b>half</b> the price of a second ago")
    expect(page.get_by_test_id("card-anomalies")).to_contain_text(
        "<b>half</b> the price of a second ago", timeout=WAIT_MS
    )
    market.event("model_swapped", "quantstream-risk 3 serves instead of 2")
    expect(page.get_by_test_id("card-events")).to_contain_text(
        "quantstream-risk 3 serves instead of 2", timeout=WAIT_MS
    )
    before = page.get_by_test_id("tile-dead-letters").locator(".qs-value").inner_text()
    market.dead()
    tile(page, "dead-letters").to_have_text(str(int(before) + 1), timeout=WAIT_MS)  # the broker may hold others
    assert page.evaluate("() => window.isSamePage") is True
    assert tab.errors == []


def test_the_chart_moves_into_an_element_built_anew(site, tab) -> None:
    page = tab.open(site.url)
    wait_for_close(page, site.market.trade("BTCUSDT", 0.7).close / 1e8)
    page.evaluate("() => { const old = quantstream.view.stage.parentElement; old.replaceWith(old.cloneNode(false)) }")
    page.wait_for_function("() => quantstream.view.stage.isConnected", timeout=WAIT_MS)
    wait_for_close(page, site.market.trade("BTCUSDT", 0.8).close / 1e8)
    assert page.evaluate("() => [quantstream.created, quantstream.view.stage.clientHeight > 0]") == [1, True]
    assert tab.errors == []


def test_the_chart_stays_one_object_and_keeps_its_zoom(site, tab) -> None:
    page = tab.open(site.url)
    time_scale = "window.quantstream.view.chart.timeScale()"
    place = page.evaluate(
        "() => (({x, y, width, height}) => [x + width / 2, y + height / 2])(quantstream.view.stage.getBoundingClientRect())"
    )
    page.mouse.move(*place)
    page.mouse.wheel(0, -100)  # from a person's first touch on, nothing is fitted to what comes
    page.wait_for_function("() => !window.quantstream.view.fit", timeout=WAIT_MS)
    page.evaluate(f"() => {time_scale}.setVisibleLogicalRange({{from: 100, to: 160}})")
    page.wait_for_function(f"() => Math.round({time_scale}.getVisibleLogicalRange().from) === 100", timeout=WAIT_MS)
    before = page.evaluate(f"() => {time_scale}.getVisibleRange()")
    for step in range(5):
        if step == 2:
            site.market.close("BTCUSDT")
        wait_for_close(page, site.market.trade("BTCUSDT", 0.2 + 0.1 * step, price=64_000 + step).close / 1e8)
    assert page.evaluate(f"() => {time_scale}.getVisibleRange()") == before
    assert page.evaluate("() => window.quantstream.created") == 1
    assert tab.errors == []


def test_the_first_forecast_of_a_symbol_comes_into_view(site, tab) -> None:
    page = tab.open(f"{site.url}/?symbol=XRPUSDT")
    expect(page.get_by_test_id("card-forecast")).to_contain_text("no forecast yet")
    site.market.score("XRPUSDT")
    page.wait_for_function("() => window.quantstream.view.fan.rows.length === 13", timeout=WAIT_MS)
    place, width = page.evaluate("""() => {
        const view = window.quantstream.view, scale = view.chart.timeScale();
        return [scale.timeToCoordinate(view.fan.rows.at(-1)[0]), scale.width()];
    }""")
    assert 0 < place < width


def test_only_the_changed_rows_travel(site, tab) -> None:
    page = tab.open(site.url)
    page.wait_for_function("() => window.quantstream.view.seq > 5", timeout=WAIT_MS)
    page.evaluate("""() => {
        const view = window.quantstream.view, take = view.take.bind(view);
        window.travelled = [];
        view.take = (data, resync) => { window.travelled.push(data.rows.length); take(data, resync); };
    }""")
    for share in (0.3, 0.5, 0.7):
        wait_for_close(page, site.market.trade("BTCUSDT", share).close / 1e8)
    assert max(page.evaluate("() => window.travelled")) <= 2


def test_a_line_can_be_hidden_and_shown(site, tab) -> None:
    page = tab.open(site.url)
    bollinger = "() => window.quantstream.view.lines[2].options().visible"
    assert page.evaluate(bollinger) is True
    page.get_by_role("button", name="Bollinger").click()
    page.wait_for_function(f"() => !({bollinger})()", timeout=WAIT_MS)
    assert page.evaluate("() => window.quantstream.created") == 1


def test_live_metrics_come_from_the_stages(site, tab) -> None:
    page = tab.open(site.url)
    tile(page, "consumer-lag").to_have_text("60", timeout=WAIT_MS)
    site.metrics["ingest"].open_gaps.set(2)
    tile(page, "open-gaps").to_have_text("2", timeout=WAIT_MS)
    site.metrics["ingest"].open_gaps.set(0)


def test_a_held_day_leads_from_the_health_page_to_what_failed_and_back_to_all(site, tab, tmp_path: Path) -> None:
    lake = lake_of(tmp_path / "lake", {"BBBUSDT": lambda frame: frame.drop(index=range(3 * ROWS + 5, 3 * ROWS + 9))})
    gate(lake, site.state).check("candles", "BBBUSDT")
    pages.write_index(Shelf(str(site.state)))
    note(Lake(str(site.state / "lake")), quarantine_of(lake).held())
    page = tab.open(site.url)
    page.get_by_role("link", name="Health").click()
    held = page.get_by_test_id("table-quarantine")
    expect(held).to_contain_text("BBBUSDT", timeout=2 * WAIT_MS)  # the lake is read every 30 s
    expect(page.get_by_test_id("card-quarantine").get_by_test_id("tile-candles")).to_contain_text("1")
    page.screenshot(path=str(tmp_path / "health.png"), full_page=True)
    held.get_by_role("link", name=str(BAD)).click()
    doc = page.get_by_test_id("data-doc")
    expect(doc).to_contain_text("expect_day_to_be_whole", timeout=WAIT_MS)
    expect(doc).to_contain_text(f"quantstream quarantine release BBBUSDT {BAD}")
    page.screenshot(path=str(tmp_path / "day.png"), full_page=True)
    doc.get_by_role("link", name="candles BBBUSDT").click()
    expect(doc).to_contain_text("What was asked", timeout=WAIT_MS)
    doc.get_by_role("link", name="days", exact=True).click()
    expect(doc).to_contain_text("Expectation Validation Result", timeout=WAIT_MS)
    page.screenshot(path=str(tmp_path / "library.png"), full_page=True)
    page.goto(f"{site.url}/data_docs?page=../stack")
    expect(page.get_by_test_id("trouble")).to_contain_text("there is no data doc ../stack", timeout=WAIT_MS)
    missed = (
        "the server responded with a status of 404"  # Streamlit looks for its server beside a page's own address first
    )
    assert [error for error in tab.errors if missed not in error] == []


def test_every_other_page_opens_and_says_what_it_should(site, tab, tmp_path: Path) -> None:
    page = tab.open(site.url)
    page.get_by_role("link", name="Risk & anomalies").click()
    for symbol in ("BTCUSDT", "ETHUSDT", "XRPUSDT"):
        expect(page.get_by_test_id("table-symbols")).to_contain_text(symbol)
    page.get_by_role("link", name="Models").click()
    expect(page.get_by_test_id("trouble")).to_contain_text("Models:")
    site.health["sink"].not_ready("waiting for the lake")
    page.get_by_role("link", name="Health").click()
    expect(page.get_by_test_id("table-stages")).to_contain_text("waiting for the lake", timeout=WAIT_MS)
    site.health["sink"].ready()
    page.screenshot(path=str(tmp_path / "health.png"), full_page=True)
    page.get_by_role("link", name="Market").click()
    page.wait_for_function("() => window.quantstream.view.stage.isConnected", timeout=WAIT_MS)
    wait_for_close(page, site.market.trade("BTCUSDT", 0.9, price=64_321.0).close / 1e8)
    assert tab.errors == []
