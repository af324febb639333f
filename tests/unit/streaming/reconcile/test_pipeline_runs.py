"""The pipeline's side of the proof: which command is run, and what its end means."""

from __future__ import annotations

import subprocess

import pytest

from quantstream.core.errors import DataRejected, Unavailable
from streaming.reconcile import pipeline_runs as commands


@pytest.mark.parametrize(
    ("code", "out", "err", "error"),
    [
        (1, "BTCUSDT …\nSomething differs: 1 of 2 candles are equal.\n", "", DataRejected),
        (2, "Nothing differs in what could be compared: 2 of 2.\n", "a warning", Unavailable),
        (2, "", "verify: there is no lake", Unavailable),
        (1, "", "ImportError: no module", Unavailable),  # a defect of the program is not one of the data
    ],
)
def test_the_pipeline_tells_bad_data_from_what_did_not_answer(
    monkeypatch: pytest.MonkeyPatch, code: int, out: str, err: str, error: type[Exception]
) -> None:
    asked: list[list[str]] = []

    def answer(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        asked.append(command[1:])
        return subprocess.CompletedProcess(command, code, out, err)

    monkeypatch.setattr(commands.subprocess, "run", answer)
    with pytest.raises(error) as raised:
        commands.run_verify("2h", ["BTCUSDT", "ETHUSDT"], "http://airflow/run")
    assert str(raised.value) == (out or err).splitlines()[-1]
    ours = ["-m", "streaming", "verify", "--keep", "--from", "2h", "--symbols", "BTCUSDT,ETHUSDT"]
    assert asked == [[*ours, "--run", "http://airflow/run"]]
