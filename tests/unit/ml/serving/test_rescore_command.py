"""`python -m ml rescore` with a registry and a lake: what champions and challengers scored live comes out once more."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from ml.__main__ import main
from ml.models import base
from ml.models.risk import RiskOptions
from ml.models.signal import SignalOptions
from ml.serving.loaded import LoadedModel
from ml.serving.registry import CHALLENGER, CHAMPION, Registry
from ml.serving.scoring import ModelSet
from ml.serving.shadowing import Shadowing
from ml.training import train
from quantstream.lake.store import Lake
from quantstream.messages.models import MODEL_KINDS, registered_name
from quantstream.observability.metrics import Metrics
from streaming.score.shadow import Shadow
from streaming.score.stage import ScoreStage
from tests.unit.ml.serving.test_rescoring import LIVE, SYMBOLS, Scene
from tests.unit.streaming.score.test_shadow import AtOnce

pytestmark = pytest.mark.slow
OTHER = train.Options(signal=SignalOptions(rounds=5), risk=RiskOptions(rounds=5, lines_from=0, trees_from=0))
BEFORE, AFTER = 4, 3  # candles before the promotion and after it


class At:
    """The shadow's thread, at once."""

    def __call__(self, act: Callable[[], None]) -> None:
        act()

    def leave(self) -> None:
        """Nothing hangs."""


class ShadowedScene(Scene):
    """A scorer with the registry's champions, and its challengers in their shadow."""

    def __init__(self, folder: Path, registry: Registry) -> None:
        super().__init__(folder, {})
        self.registry = registry
        self.challengers: dict[str, LoadedModel] = {}

    def take(self) -> None:
        """Load who has the aliases."""
        for alias in (CHAMPION, CHALLENGER):
            found = {kind: self.registry.alias_version(registered_name(kind), alias) for kind in MODEL_KINDS}
            loaded = {kind: self.registry.load(registered_name(kind), one) for kind, one in found.items() if one}
            if alias == CHAMPION:
                self.models = loaded
            else:
                self.challengers = {one.name: one for one in loaded.values()}

    def scorer(self) -> ScoreStage:
        """Return a new process that holds the partition."""
        stage = super().scorer()
        own: Any = AtOnce(self.broker)
        shadowing = Shadowing(lambda: ModelSet(**self.models), lambda: self.challengers, lambda: self.broker.now)
        aside: Any = At()
        stage.shadow = Shadow(shadowing, stage.histories, own, lambda *_: None, Metrics("score"), lambda: 0.0, aside)
        return stage

    def live(self, stage: ScoreStage, count: int) -> None:
        """Let candles close, each scored by the champions and then in their shadow."""
        for _ in range(count):
            self.close(1)
            for _ in range(8):
                stage.turn()


@dataclass
class Lived:
    """What was scored, by whom."""

    scene: ShadowedScene
    champions: dict[str, str]
    challengers: dict[str, str]


@pytest.fixture(scope="module")
def lived(
    models: dict[str, base.Model],
    tasks: dict[str, train.Task],
    registry: Registry,
    tmp_path_factory: pytest.TempPathFactory,
) -> Lived:
    """Champions and challengers of all kinds; then the challengers of signal and risk are promoted."""

    def register(model: base.Model, alias: str) -> str:
        version = registry.register(model, {}, {}, {}, {})
        registry.set_alias(registered_name(model.kind), alias, version)
        return version

    champions = {kind: register(model, CHAMPION) for kind, model in models.items()}
    others = {kind: train.fit(tasks[kind], OTHER) for kind in ("signal", "risk")} | {"forecast": models["forecast"]}
    challengers = {kind: register(model, CHALLENGER) for kind, model in others.items()}
    scene = ShadowedScene(tmp_path_factory.mktemp("state") / "lake", registry)
    scene.take()
    scene.close(LIVE - BEFORE - AFTER - 2)  # a jump is among the last, which is novel
    scorer = scene.scorer()
    for _ in range(4):
        scorer.turn()
    scene.live(scorer, BEFORE)
    scene.revise("BTCUSDT", 40, 1.01)  # late: the past is made anew
    for kind in ("signal", "risk"):
        registry.set_alias(registered_name(kind), CHAMPION, challengers[kind])
        registry.remove_alias(registered_name(kind), CHALLENGER)
    scene.take()
    scene.live(scene.scorer(), AFTER)
    scene.sink()
    return Lived(scene, champions, challengers)


@pytest.fixture
def rescore(
    lived: Lived, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    """Run the command as people do, and return its exit code and answer."""

    def run(version: str, *options: str, lake: Lake = lived.scene.lake) -> tuple[int, str]:
        monkeypatch.setenv("QUANTSTREAM_MLFLOW", lived.scene.registry.url)
        monkeypatch.setenv("QUANTSTREAM_LAKE", lake.url)
        words = ["rescore", "--version", version, "--from", "2020-01-01", "--to", "2040-01-01", *options]
        monkeypatch.setattr(sys, "argv", ["ml", *words])
        return main(), capsys.readouterr().out

    return run


@pytest.mark.parametrize("kind", MODEL_KINDS)
def test_a_champions_live_scores_come_out_of_registry_and_lake_once_more(
    lived: Lived, rescore: Callable[..., tuple[int, str]], kind: str
) -> None:
    code, answer = rescore(f"{kind}/{lived.champions[kind]}", "--json")
    found = json.loads(answer)
    assert (code, found["different"], found["equal"], found["shadow"]) == (0, [], found["scores"], 0)
    assert found["scores"] >= BEFORE * len(SYMBOLS)


@pytest.mark.parametrize("kind", ["forecast", "signal", "risk"])
def test_what_a_challenger_scored_in_the_shadow_comes_out_too_and_what_it_scored_after_its_promotion(
    lived: Lived, rescore: Callable[..., tuple[int, str]], kind: str
) -> None:
    code, answer = rescore(f"{kind}/{lived.challengers[kind]}", "--json")
    found = json.loads(answer)
    assert (code, found["different"]) == (0, [])
    in_shadow, served = (BEFORE, AFTER) if kind != "forecast" else (BEFORE + AFTER, 0)
    assert found["shadow"] >= in_shadow * len(SYMBOLS)
    assert found["scores"] - found["shadow"] == served * len(SYMBOLS)


def test_a_shadow_score_that_was_changed_since_is_named_by_its_candle(
    lived: Lived, rescore: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    lake, version = Lake(str(tmp_path / "lake")), lived.challengers["risk"]
    for table in ("candles", "scores"):
        lake.append(table, lived.scene.lake.read(table).drop_columns(["date", "month"]))
    stored = lived.scene.lake.read("shadow_scores")
    rows = stored.to_pylist()
    changed = next(row for row in rows if row["risk"] is not None and row["symbol"] == "ETHUSDT")
    changed["risk"] += 1e-12
    lake.append("shadow_scores", pa.Table.from_pylist(rows, stored.schema).drop_columns(["date", "month"]))
    code, answer = rescore(f"risk/{version}", lake=lake)
    assert code == 1
    first, *named = answer.splitlines()
    assert "1 of them not the same" in first
    assert len(named) == 1
    assert named[0].startswith(
        f"ETHUSDT {changed['opened_at']} in the shadow: of the same candles comes another result"
    )


def test_novel_candles_are_among_those_scored_in_the_shadow(lived: Lived) -> None:
    at = [row["opened_at"] for row in lived.scene.lake.scores().to_pylist() if row["novelty"] > 0.5]
    shadowed = {row["opened_at"] for row in lived.scene.lake.read("shadow_scores").to_pylist()}
    assert shadowed & set(at)
