"""The stages as data: what each reads and writes. Manifests, the broker's access rights and the tests all go by it.

A test reads from the code what each stage can write: what is missing here is missing in the rights of its login.
"""

from __future__ import annotations

from dataclasses import dataclass

from quantstream.messages.topics import (
    ANOMALIES,
    CANDLES,
    DEAD,
    EVENTS,
    MODELS,
    OPEN_CANDLES,
    SCORES,
    SHADOW_SCORES,
    TRADES,
    Topic,
)


@dataclass(frozen=True)
class Stage:
    """One always-on process; each may tell operators. `group` is its consumer group; the sink keeps its offsets in the lake.

    What a stage `watches` it reads without a group, for news alone.
    """

    name: str
    reads: tuple[Topic, ...]
    writes: tuple[Topic, ...]
    needs_models: bool = False
    watches: tuple[Topic, ...] = ()

    @property
    def group(self) -> str:
        """Consumer group of its replicas."""
        return f"quantstream-{self.name}"


INGEST = Stage("ingest", (), (TRADES, DEAD, EVENTS))
AGGREGATE = Stage("aggregate", (TRADES,), (CANDLES, OPEN_CANDLES, DEAD, EVENTS))
DETECT = Stage("detect", (TRADES,), (ANOMALIES, EVENTS), needs_models=True, watches=(MODELS,))
SINK = Stage("sink", (TRADES, CANDLES, SCORES, SHADOW_SCORES, ANOMALIES), (DEAD, EVENTS))
SCORE = Stage("score", (CANDLES,), (SCORES, SHADOW_SCORES, DEAD, EVENTS), needs_models=True, watches=(MODELS,))
STAGES = {stage.name: stage for stage in (INGEST, AGGREGATE, DETECT, SINK, SCORE)}
