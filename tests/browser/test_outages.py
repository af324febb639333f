"""The page when what it reads from is away: one clear sentence, the rest goes on, and it finds back by itself."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from infra.embedded import broker as local_broker
from quantstream.kafka import ensure_topics
from quantstream.settings import Kafka

pytestmark = [pytest.mark.browser, pytest.mark.broker]
WAIT_MS = 60_000


def test_a_killed_broker_is_said_in_a_sentence_and_the_page_finds_back(site_over, tab, tmp_path: Path) -> None:
    port = local_broker.free_port()
    kafka = Kafka(bootstrap=f"127.0.0.1:{port}")
    with local_broker.running(tmp_path / "broker", port) as process:
        ensure_topics(kafka)
        with site_over(tmp_path, kafka) as site:
            page = tab.open(site.url)
            before = page.evaluate("() => window.quantstream.view.rows.size")
            expect(page.get_by_test_id("action")).to_have_text("BUY", timeout=WAIT_MS)  # the topics were read once
            process.kill()
            process.wait()
            trouble = page.get_by_test_id("trouble")
            sentence = re.compile(rf"^Live data: no Kafka broker answers at 127\.0\.0\.1:{port}: .+\.$")
            expect(trouble).to_have_text(sentence, timeout=WAIT_MS)
            assert page.evaluate("() => window.quantstream.created") == 1
            page.reload()  # a new visitor meets the same page, not a traceback
            page.wait_for_function("size => window.quantstream?.view?.rows.size >= size", arg=before, timeout=WAIT_MS)
            expect(page.get_by_test_id("action")).to_have_text("BUY")
            with local_broker.running(tmp_path / "broker", port):
                expect(trouble).to_have_count(0, timeout=WAIT_MS)
                price = site.market.trade("BTCUSDT", 0.8, price=65_432.0).close / 1e8
                page.wait_for_function(
                    "price => window.quantstream.view.newest()[4] === price", arg=price, timeout=WAIT_MS
                )
                assert (
                    page.evaluate("() => window.quantstream.created") == 1
                )  # the sentence came and went beside the chart
                expect(page.get_by_test_id("card-anomalies").get_by_test_id("anomaly")).to_have_count(
                    1
                )  # not read twice
            assert not any("Traceback" in error for error in tab.errors)


def test_without_broker_lake_and_stages_the_page_says_what_is_missing(dashboard, tab, tmp_path: Path) -> None:
    nobody = Kafka(bootstrap=f"127.0.0.1:{local_broker.free_port()}")
    with dashboard(tmp_path, nobody) as url:
        page = tab.page
        page.goto(url)
        troubles = page.get_by_test_id("trouble")
        expect(troubles.filter(has_text="no Kafka broker answers")).to_have_count(1, timeout=WAIT_MS)
        expect(troubles.filter(has_text="the lake holds no candles yet")).to_have_count(1, timeout=WAIT_MS)
        expect(page.get_by_test_id("card-signal")).to_contain_text("no score yet")
        expect(page.get_by_test_id("stException")).to_have_count(0)
        assert not (tmp_path / "lake").exists()  # a reader makes nothing


def test_a_wrong_setting_is_one_sentence_on_the_page(dashboard, tab, tmp_path: Path) -> None:
    nobody = Kafka(bootstrap=f"127.0.0.1:{local_broker.free_port()}")
    with dashboard(tmp_path, nobody, SYMBOLS="BTC/USDT") as url:
        tab.page.goto(url)
        alert = tab.page.get_by_test_id("stAlert")
        expect(alert).to_contain_text("'BTC/USDT' is not a symbol; write it as the exchange does", timeout=WAIT_MS)
        expect(tab.page.get_by_test_id("stException")).to_have_count(0)
