"""What the registry's pages say: the decision first, then what it is, learnt from what, judged how, made by which code."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from ml.promotion import decisions
from ml.promotion.decisions import Change, Decision
from ml.serving import descriptions
from ml.serving.descriptions import DECISION, Facts
from quantstream.messages.models import MODEL_KINDS

AT = datetime(2026, 11, 28, 14, 5, tzinfo=UTC)
NAME = "quantstream-risk"


def tagged(change: Change, why: str = "it is better", before: str = "") -> dict[str, str]:
    """The tag that `Moves` writes."""
    return {
        f"{DECISION}.promoted": decisions.encoded(Decision(AT, NAME, "7", change, before, "pipeline models_train", why))
    }


def facts(tags: dict[str, str]) -> Facts:
    known = {
        "trained": "9,000 candles of 2 symbols",
        "judged": "On 900 later candles",
        "features_version": "3",
        "code": "commit abc",
    }
    return Facts(NAME, "7", 1_700_000_000_000, known | tags, {"brier": 0.07, "ece": 0.012}, "#/experiments/1/runs/x")


def test_a_version_says_what_was_decided_first() -> None:
    text = descriptions.of_version(facts(tagged(Change.PROMOTED, before="6")))
    assert text.startswith(
        "Promoted on 2026-11-28 14:05 UTC by pipeline models_train, instead of version 6. it is better\n"
    )
    for part in (
        "**What it is.** Probability that the coming hour moves abnormally",
        "**Trained on.** 9,000 candles of 2 symbols; version 3 of the table `features`",
        "**Judged.** On 900 later candles. Brier score of the probability of an abnormal hour: 0.07; ",
        "(calibration error): 1.20 %.",
        "**Made by** commit abc",
        "(#/experiments/1/runs/x)",
    ):
        assert part in text
    undecided = descriptions.of_version(facts({}))
    assert undecided.startswith("No decision yet: it was registered, and the gate has not spoken.")
    assert descriptions.of_version(facts({DECISION: "not JSON"})) == undecided


def test_a_model_says_which_version_serves_since_when_and_why() -> None:
    champion = facts(tagged(Change.PROMOTED))
    shadowing = replace(champion, version="8", tags=tagged(Change.CHALLENGER))
    text = descriptions.of_model(NAME, {"champion": champion, "challenger": shadowing})
    assert "**Serving now: version 7, since 2026-11-28 14:05 UTC.**\n\n**Why it serves.** it is better\n" in text
    assert "- `challenger`: version 8, scores in the champion's shadow" in text
    assert "**No version serves.**" in descriptions.of_model(NAME, {})
    moved = descriptions.of_model(NAME, {"champion": facts({})})
    assert "since 2023-11-14 22:13 UTC" in moved
    assert "its alias was moved by other means" in moved


def test_every_kind_is_told_and_no_text_is_longer_than_the_registry_keeps() -> None:
    assert list(descriptions.WHAT) == list(descriptions.SHOWN) == list(MODEL_KINDS)
    long = facts(tagged(Change.REFUSED, "x" * 9000))
    assert len(descriptions.of_version(long)) == descriptions.LENGTH
