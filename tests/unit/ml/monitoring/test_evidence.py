"""What a decision stands on is JSON that any reader takes."""

from __future__ import annotations

import json

from ml.monitoring.drift import Shift
from ml.monitoring.live_metrics import Live
from ml.monitoring.verdict import Act, Figures, Known, Verdict
from ml.monitoring.watch import evidence_of, sentence


def test_what_is_not_known_is_null_and_not_a_word_of_its_own() -> None:
    unknown = float("nan")
    known = Known(
        "quantstream-risk", "3", Figures(288, 0.1, 0.09, unknown, unknown), drifted=[Shift("risk", 4.0, 1e-4)]
    )
    evidence = evidence_of(known, Live(), Verdict(Act.TRAIN, "drift of risk", ("drift",)))
    text = json.dumps(evidence, allow_nan=False)
    assert json.loads(text)["live"] == {
        "candles": 288,
        "loss": 0.1,
        "low": 0.09,
        "promised": None,
        "bound": None,
        "by_symbol": {},
        "measures": {},
    }
    said = sentence(known, Verdict(Act.TRAIN, "drift of risk", ("drift",)), ["it promised nothing"])
    assert said.endswith("; it promised nothing; drift of risk; a training is wanted")
