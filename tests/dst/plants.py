"""Defects planted on purpose, one of each kind in each stage, at the stages' edges: `--plant NAME` must be found in no time.

commit after loss: what was read before partitions moved is committed after they did, for the stage is not told;
offset before rows: the position is committed first, what came of it afterwards;
state kept: what is known of a partition outlives its loss; id forgotten: the last record known before a start is taken for new.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from quantstream.kafka import Partition, PartitionedStage, Reader, Writer
from streaming.aggregate.aggregator import Aggregator
from streaming.detect.stage import DetectStage
from tests.dst.lake import Lake

STAGES = ("aggregate", "detect", "score", "sink")


def _is_of(reader: Reader, stage: str) -> bool:
    return reader.group == f"quantstream-{stage}"


def _commit_after_loss(stage: str) -> None:
    """Its callbacks of revocation and loss never come."""
    subscribe = Reader.subscribe

    def deaf(self: Reader, topics: Any, on_assign: Any = None, on_revoke: Any = None, on_lost: Any = None) -> None:
        if _is_of(self, stage):
            subscribe(self, topics, on_assign, None, None)
        else:
            subscribe(self, topics, on_assign, on_revoke, on_lost)

    Reader.subscribe = deaf  # type: ignore[method-assign]


def _offset_before_rows(stage: str) -> None:
    """Its position is committed in a transaction of its own, before the one with what came of it."""
    if stage == "sink":
        append = Lake.append

        def in_two(self: Lake, name: str, rows: Any, progress: Any = None, states: Any = None, **more: Any) -> None:
            append(self, name, rows.slice(0, 0), progress, states, **more)
            append(self, name, rows)

        Lake.append = in_two  # type: ignore[method-assign,assignment]
        return
    send, commit, abort = Writer.send, Writer.commit, Writer.abort

    def later(self: Writer, *arguments: Any, **named: Any) -> None:
        self.__dict__.setdefault("held_back", []).append((arguments, named))

    def first_offsets(self: Writer, reader: Reader, offsets: Mapping[Partition, int]) -> None:
        held = self.__dict__.pop("held_back", [])
        if not offsets or not _is_of(reader, stage):
            for arguments, named in held:
                send(self, *arguments, **named)
            commit(self, reader, offsets)
            return
        commit(self, reader, offsets)
        self.begin()
        for arguments, named in held:
            send(self, *arguments, **named)
        commit(self, reader, {})

    def forgets(self: Writer) -> None:
        self.__dict__.pop("held_back", None)
        abort(self)

    def chosen(self: Writer, *arguments: Any, **named: Any) -> None:
        is_transactional = self.producer.identity is not None and stage in self.producer.identity.name
        (later if is_transactional else send)(self, *arguments, **named)

    Writer.send, Writer.commit, Writer.abort = chosen, first_offsets, forgets  # type: ignore[method-assign,assignment]


def _state_kept(stage: str) -> None:
    """What it knew of a partition is still there when it holds it again, and counts more than what is committed."""
    if stage == "aggregate":
        restore = Aggregator.restore

        def unless_known(self: Aggregator, partition: int, snapshots: Any) -> None:
            if partition not in self.builders:
                restore(self, partition, snapshots)

        Aggregator.restore = unless_known  # type: ignore[method-assign]
        Aggregator.forget = lambda self, partition: None  # type: ignore[method-assign]
    elif stage == "detect":  # its features follow from what is read again; what it found is state as well

        def keeps_what_it_found(self: DetectStage) -> None:
            if self.in_transaction:
                self.writer.abort()
            self.in_transaction = False
            self.offsets.clear()

        DetectStage.discard = keeps_what_it_found  # type: ignore[method-assign]
    else:
        _commit_after_loss(stage)


def _id_forgotten(stage: str) -> None:
    """After a start the last record known is taken for new."""
    if stage == "aggregate":
        restore = Aggregator.restore

        def less_one(self: Aggregator, partition: int, snapshots: Sequence[Any]) -> None:
            restore(self, partition, snapshots)
            for builder in self.builders[partition].values():
                builder.state.ids.last_id = max(builder.state.ids.last_id - 1, -1)

        Aggregator.restore = less_one  # type: ignore[method-assign,assignment]
    elif stage == "sink":
        state = Lake.state

        def forgetful(self: Lake, name: str, application: str, reached: int) -> bytes | None:
            found = state(self, name, application, reached)
            if found is None:
                return None
            ids = msgspec.json.decode(found)
            for one in ids.values():
                one["last_id"] -= 1
            return msgspec.json.encode(ids)

        Lake.state = forgetful  # type: ignore[method-assign]
    else:
        rewound = PartitionedStage.rewound

        def one_less(self: PartitionedStage, partitions: Any, records: int) -> Any:
            begin, new_from = rewound(self, partitions, records)
            return begin, {part: max(at - 1, 0) for part, at in new_from.items()}

        PartitionedStage.rewound = one_less  # type: ignore[method-assign]


KINDS: dict[str, Callable[[str], None]] = {
    "commit-after-loss": _commit_after_loss,
    "offset-before-rows": _offset_before_rows,
    "state-kept": _state_kept,
    "id-forgotten": _id_forgotten,
}
PLANTS = [f"{stage}:{kind}" for stage in STAGES for kind in KINDS]


def plant(name: str) -> None:
    """Put a defect in, for good."""
    stage, kind = name.split(":")
    KINDS[kind](stage)
