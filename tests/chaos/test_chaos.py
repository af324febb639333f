"""Chaos in short, and the proof that its judge sees what it should. `make chaos` is the long run."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from uuid import uuid4

import msgspec
import pyarrow as pa
import pytest
from confluent_kafka import TopicPartition

from quantstream.core.candle import Candle
from quantstream.core.decimals import UNIT
from quantstream.core.errors import Unavailable
from quantstream.core.time import MINUTE, SECOND
from quantstream.core.trade import Trade
from quantstream.kafka import Reader
from quantstream.lake.schemas import candle_rows
from quantstream.lake.store import Lake
from quantstream.lake.store import Step as LakeStep
from quantstream.messages.payloads import Anomaly, DeadRecord, Score
from quantstream.messages.topics import TRADES as TRADES_TOPIC
from quantstream.observability.health import STALLED_AFTER
from quantstream.settings import Kafka
from streaming.sink.table_rows import anomaly_row, score_row, table_of
from tests.chaos import judge as judging
from tests.chaos.judge import Verdict
from tests.chaos.outages import LakeFolder, RegistryServer, champion
from tests.chaos.platform import Size
from tests.chaos.progress import Step, group_steps, lake_steps, went_back
from tests.chaos.run import partitions_of, run
from tests.chaos.schedule import (
    BROKER,
    BROKER_KILL,
    DELIST,
    FAULT,
    JOIN,
    KILL,
    LAKE_AWAY,
    LEAVE,
    PARTITIONS,
    PAUSE,
    REGISTRY_AWAY,
    REPLICAS,
    STAGES,
    Trouble,
    draw,
    replica,
    stage_of,
)
from tests.chaos.watch import Pause, ended_for_nothing, moves, without_a_word
from tests.straight import build_candles

T0 = 1_723_161_600 * SECOND
END = (T0 + 10 * MINUTE) // 1000


@pytest.mark.stack
@pytest.mark.timeout(1800)
def test_what_is_killed_paused_and_doubled_under_a_faulty_exchange_loses_and_repeats_nothing(tmp_path: Path) -> None:
    trouble = Trouble(seconds=60, kills=10, pauses=4, visits=5, broker=1, outages=1)
    report = run(tmp_path / "state", 11, trouble, Size(partitions=12), say=print)
    print("\n".join(report.lines()))
    assert Counter(stage_of(name) for name in report.kills.elements()) >= Counter(dict.fromkeys(STAGES, 2))
    assert report.others == Counter({BROKER_KILL: 1, LAKE_AWAY: 1, REGISTRY_AWAY: 1})
    assert report.pauses.total() + report.not_done[PAUSE] == 4
    assert report.joins.total() == 5
    assert sum(report.faults.values()) > 10
    assert report.wrong + report.verdict.differences == []
    assert report.not_ready == []
    assert report.survived


ALL = Trouble(seconds=360, kills=30, pauses=30, visits=18, broker=4, outages=1, delistings=1)


def test_a_schedule_is_the_seeds_alone_and_hits_each_stage_alike() -> None:
    blows = draw(5, ALL)
    assert blows == draw(5, ALL) != draw(6, ALL)
    assert [blow.at for blow in blows] == sorted(blow.at for blow in blows)
    killed = Counter(blow.target for blow in blows if blow.kind == KILL and blow.target in STAGES)
    assert killed == dict.fromkeys(STAGES, 6)
    once = dict.fromkeys((*BROKER, LAKE_AWAY, REGISTRY_AWAY, DELIST), 1)
    others = Counter(blow.kind for blow in blows if blow.kind != KILL)
    assert others == {FAULT: 8, PAUSE: 30, JOIN: 18, LEAVE: 18, **once}


@pytest.mark.parametrize("seed", range(20))
def test_every_replica_comes_and_goes_and_none_that_stands_still_is_stopped_again(seed: int) -> None:
    blows = draw(seed, ALL)
    assert {blow.target for blow in blows if blow.kind == JOIN} == {
        replica(stage, number) for stage in STAGES for number in REPLICAS
    }
    for name in {blow.target for blow in blows}:
        visits = [blow.kind for blow in blows if blow.target == name and blow.kind in (JOIN, LEAVE)]
        assert visits == [JOIN, LEAVE] * (len(visits) // 2)
        pauses = [blow for blow in blows if blow.target == name and blow.kind == PAUSE]
        assert all(one.at + one.seconds < other.at for one, other in pairwise(pauses))
        assert all(10 < pause.seconds < STALLED_AFTER for pause in pauses)  # the session; the watchdog's patience


def test_seeds_draw_each_number_of_partitions() -> None:
    assert {partitions_of(seed) for seed in range(20)} == set(PARTITIONS)


class Market:
    """The exchange's own answers for some trades."""

    def __init__(self, trades: list[Trade], candles: list[Candle]) -> None:
        self.rows, self.candles = trades, candles

    def trades(self, symbol: str, first_id: int, before: int) -> list[dict[str, object]]:
        return [
            {
                "id": trade.id,
                "price": f"{trade.price / UNIT:.8f}",
                "qty": f"{trade.quantity / UNIT:.8f}",
                "time": trade.traded_at // 1000,
                "micros": trade.traded_at,
                "isBuyerMaker": trade.buyer_is_maker,
            }
            for trade in self.rows
            if trade.id >= first_id and trade.traded_at // 1000 < before
        ]

    def klines(self, symbol: str, interval: str, start: int, before: int) -> list[list[object]]:
        rows = candle_rows(self.candles).to_pylist()
        found = []
        for candle, row in zip(self.candles, rows, strict=True):
            kline: list[object] = [candle.opened_at // 1000, *([None] * 10)]
            for name, place in judging.KLINE.items():
                kline[place] = str(row[name])
            kline[8] = candle.trade_count
            found += [kline] if start <= candle.opened_at // 1000 < before else []
        return found


TRADES = [Trade("AUSDT", n, n, n, (100 + n) * UNIT, UNIT, T0 + n * 30 * SECOND, n % 2 == 0) for n in range(20)]
CANDLES = [candle for candle in build_candles([*TRADES, TRADES[-1]])[0] if candle.opened_at < END * 1000]


def lake_of(folder: Path, trades: list[Trade], candles: list[Candle]) -> Lake:
    lake = Lake(str(folder))
    columns = {
        "symbol": [trade.symbol for trade in trades],
        "id": [trade.id for trade in trades],
        "first_trade_id": [trade.id for trade in trades],
        "last_trade_id": [trade.id for trade in trades],
        "price": pa.array([trade.price // UNIT for trade in trades]).cast(pa.decimal128(38, 8)),
        "quantity": pa.array([trade.quantity // UNIT for trade in trades]).cast(pa.decimal128(38, 8)),
        "traded_at": pa.array([trade.traded_at for trade in trades]).cast(pa.timestamp("us", tz="UTC")),
        "buyer_is_maker": [trade.buyer_is_maker for trade in trades],
        "received_at": pa.array([0] * len(trades)).cast(pa.timestamp("us", tz="UTC")),
        "origin": ["live"] * len(trades),
    }
    lake.append("trades", pa.table(columns))
    lake.append("candles", candle_rows(candles))
    return lake


def verdict_of(folder: Path, trades: list[Trade], candles: list[Candle]) -> dict[str, int]:
    verdict, market = Verdict(), Market(TRADES, complete(CANDLES))
    lake = lake_of(folder, trades, candles)
    truth = judging._judge_trades(verdict, lake, market, "AUSDT", END)  # type: ignore[arg-type]
    judging._judge_candles(verdict, lake, market, "AUSDT", "5m", truth, END)  # type: ignore[arg-type]
    return {name: count for name, count in vars(verdict).items() if count and name != "differences"}


def complete(candles: list[Candle]) -> list[Candle]:
    return [msgspec.structs.replace(candle, is_complete=True) for candle in candles]


def test_the_judge_finds_nothing_wrong_where_nothing_is(tmp_path: Path) -> None:
    assert verdict_of(tmp_path, TRADES, complete(CANDLES)) == {"trades": 20, "candles": 2}


def test_the_judge_sees_each_kind_of_wrong(tmp_path: Path) -> None:
    whole = complete(CANDLES)
    other = msgspec.structs.replace(TRADES[4], price=TRADES[4].price + UNIT)
    wrong = msgspec.structs.replace(whole[0], taker_buy_volume=0)
    half = msgspec.structs.replace(whole[0], is_complete=False)
    cases = {
        "missing": (TRADES[:7] + TRADES[8:], whole, {"trades": 19, "candles": 2, "trades_missing": 1}),
        "twice": ([*TRADES, TRADES[3]], whole, {"trades": 20, "candles": 2, "trades_duplicate": 1}),
        "other": ([*TRADES[:4], other, *TRADES[5:]], whole, {"trades": 19, "candles": 2, "trades_different": 1}),
        "gone": (TRADES, whole[:1], {"trades": 20, "candles": 1, "candles_missing": 1}),
        "again": (TRADES, [*whole, whole[0]], {"trades": 20, "candles": 2, "candles_duplicate": 1}),
        "false": (TRADES, [wrong, whole[1]], {"trades": 20, "candles": 1, "candles_different": 1}),
        "half": (TRADES, [half, whole[1]], {"trades": 20, "candles": 1, "candles_incomplete": 1}),
    }
    found = {name: verdict_of(tmp_path / name, trades, candles) for name, (trades, candles, _) in cases.items()}
    assert found == {name: expected for name, (_, _, expected) in cases.items()}


def seen(judging: Callable[[Verdict], None]) -> dict[str, int]:
    verdict = Verdict()
    judging(verdict)
    return verdict.wrong


def test_the_judge_sees_what_topics_and_lake_do_not_share(tmp_path: Path) -> None:
    whole = complete(CANDLES)
    lake = lake_of(tmp_path, TRADES, whole)
    truth = Market(TRADES, whole).trades("AUSDT", 0, END)

    def of_topic(candles: list[Candle]) -> dict[str, int]:
        return seen(lambda verdict: judging._judge_topic_of_candles(verdict, candles, lake, END))

    assert of_topic(whole) == {}
    assert of_topic([*whole, whole[0]]) == {"candles_duplicate_in_topic": 1}
    assert of_topic(whole[1:]) == {"candles_unlike_topic": 1}
    other = msgspec.structs.replace(whole[0], revision=1)
    assert of_topic([*whole, other]) == {"candles_unlike_topic": 1}
    assert seen(lambda verdict: judging._judge_log(verdict, TRADES[1:], "AUSDT", truth)) == {"trades_missing_in_log": 1}
    assert seen(lambda verdict: judging._judge_log(verdict, TRADES * 2, "AUSDT", truth)) == {}


def test_the_judge_sees_candles_scored_twice_never_and_for_nothing(tmp_path: Path) -> None:
    whole = complete(CANDLES)
    scores = [Score(c.symbol, c.interval, c.opened_at, 0, 1.0, 0, "") for c in whole]
    lake = Lake(str(tmp_path))
    lake.append("scores", table_of("scores", [score_row(score) for score in scores]))

    def of(candles: list[Candle], told: list[Score]) -> dict[str, int]:
        return seen(lambda verdict: judging._judge_scores(verdict, candles, told, lake, END))

    assert of(whole, scores) == {}
    assert of(whole, [*scores, scores[0]]) == {"scored_twice": 1}
    assert of(whole, scores[1:]) == {"not_scored": 1}
    assert of(whole[1:], scores) == {"scored_for_nothing": 1}
    lake.append("scores", table_of("scores", [score_row(scores[0])]))
    assert of(whole, scores) == {"scored_twice": 1}


def test_the_judge_sees_progress_that_went_back_and_records_that_were_refused(tmp_path: Path) -> None:
    lake, rows = Lake(str(tmp_path)), candle_rows(complete(CANDLES))
    for before, after in ((None, 5), (5, 10)):
        lake.append("candles", rows, {"sink/a/0": LakeStep(before, after), "sink/a/1": LakeStep(before, after)})
    steps = list(lake_steps(tmp_path / "candles"))
    assert Counter(steps) == Counter(Step(f"candles sink/a/{part}", at) for part in (0, 1) for at in (5, 10))
    assert seen(lambda verdict: judging._judge_progress(verdict, steps)) == {}
    lake.append("candles", rows, {"sink/a/0": LakeStep(10, 8)})
    back = lake_steps(tmp_path / "candles")
    assert seen(lambda verdict: judging._judge_progress(verdict, back)) == {"progress_back": 1}
    dead = [
        DeadRecord("ingest", "cut in half", "", 0),
        DeadRecord("sink market.trades.v1-0@3", "it cannot be told", "", 0),
    ]
    assert seen(lambda verdict: judging._judge_refusals(verdict, dead)) == {"records_refused": 1}


def test_the_judge_sees_anomalies_untold_told_twice_and_made_up(tmp_path: Path) -> None:
    large = [msgspec.structs.replace(trade, quantity=UNIT * (10_000 if trade.id == 450 else 1)) for trade in MANY]
    anomaly = Anomaly("AUSDT", 450, large[450].traded_at, UNIT, UNIT, True, 1.0, [], "rule/1", 0)
    lake = Lake(str(tmp_path))
    lake.append("anomalies", table_of("anomalies", [anomaly_row(anomaly)]))

    def of(told: list[Anomaly]) -> dict[str, int]:
        return seen(lambda verdict: judging._judge_anomalies(verdict, large, told, lake, END))

    assert of([anomaly]) == {}
    assert of([]) == {"anomalies_missing": 1}
    assert of([anomaly, anomaly]) == {"anomalies_duplicate": 1}
    assert of([anomaly, msgspec.structs.replace(anomaly, trade_id=451)]) == {"anomalies_extra": 1}


MANY = [Trade("AUSDT", n, n, n, 100 * UNIT, UNIT, T0 + n * SECOND, n % 2 == 0) for n in range(500)]


@pytest.mark.broker
def test_what_groups_committed_is_read_from_the_brokers_own_topic(broker: Kafka) -> None:
    group, part = f"group-{uuid4()}", (TRADES_TOPIC.name, 0)
    for reached in (3, 7, 5):
        reader = Reader(broker, group)
        try:
            reader.consumer.commit(offsets=[TopicPartition(*part, reached)], asynchronous=False)
        finally:
            reader.close()
    steps = [step for step in group_steps(broker) if step.whose.startswith(group)]
    assert steps == [Step(f"{group} {part[0]}-0", reached) for reached in (3, 7, 5)]
    assert went_back(steps) == [f"{group} {part[0]}-0 went back from 7 to 5"]


def test_a_process_that_was_only_paused_is_the_same_or_said_why_it_ended() -> None:
    pause = Pause("sink", 7, 0, 0.0)
    why = json.dumps({"message": "stage ends", "reason": "no Kafka broker answers"})
    moved = json.dumps({"message": "stage ends", "reason": "Kafka transaction failed: Specified group generation id"})
    assert ended_for_nothing(pause, 7, "") == ""
    assert ended_for_nothing(pause, 8, why) == ""
    assert ended_for_nothing(pause, 8, "Traceback") == "sink was paused, and ended without a word"
    assert ended_for_nothing(pause, 8, moved).startswith("sink was paused, and ended for partitions that had moved")
    assert without_a_word(3, 2, why) == 0
    assert without_a_word(3, 2, "Traceback") == 1


def test_moves_of_partitions_are_counted_by_what_stages_say() -> None:
    output = [
        {"message": "partitions assigned", "partitions": "t-0 t-1"},
        {"message": "partitions revoked", "partitions": "t-1"},
        {"message": "partitions lost", "partitions": "t-0"},
        {"message": "partitions assigned", "partitions": ""},
        {"message": "partitions moved before a commit"},
    ]
    text = "not json\n" + "\n".join(map(json.dumps, output)) + '\n{"message": "cut'
    assert moves(text) == {"assigned": 1, "revoked": 1, "lost": 1, "fenced": 1}


def test_a_lake_that_is_away_cannot_be_opened_and_is_whole_when_it_is_back(tmp_path: Path) -> None:
    folder = LakeFolder(tmp_path / "lake")
    lake, rows = Lake(str(tmp_path / "lake")), candle_rows(complete(CANDLES))
    lake.append("candles", rows)
    folder.go_away()
    with pytest.raises(Unavailable):
        lake.append("candles", rows)
    with pytest.raises(Unavailable):
        lake.read("candles")
    folder.come_back()
    assert lake.read("candles").num_rows == rows.num_rows


def test_a_registry_that_is_away_leaves_its_callers_without_an_answer() -> None:
    with RegistryServer({"quantstream-anomaly": "1"}).serving() as registry:
        assert champion(registry.url, "quantstream-anomaly") == "1"
        assert champion(registry.url, "quantstream-risk") is None
        registry.go_away()
        with pytest.raises(Unavailable):
            champion(registry.url, "quantstream-anomaly")
        registry.come_back()
        assert champion(registry.url, "quantstream-anomaly") == "1"
