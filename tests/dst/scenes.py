"""What model and broker must have in common: scenes, each told as what was observed, the same words over both."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.dst.stands import Hand, Stand

Seen = list[Any]
PATIENCE = 40.0  # seconds
SESSION_AT_LEAST = 5.0  # seconds: shorter than any session here


def until(stand: Stand, done: Callable[[], bool], *polling: Hand) -> bool:
    """Let some poll until it has come to that; tell whether it has."""
    spent = 0.0
    while not done():
        if spent > PATIENCE:
            return False
        for hand in polling:
            hand.do("poll", 100, 0.2)
            spent += 0.2
        if not polling:
            stand.sleep(0.2)
            spent += 0.2
    return True


def markers_take_offsets_and_aborted_records_are_skipped(stand: Stand) -> Seen:
    stand.topic("t1", 1)
    writer, reader = stand.actor(), stand.actor()
    writer.do("start", "w1")
    for values, end in (("a", "b"), "commit"), (("x", "y"), "abort"), (("c",), "commit"):
        writer.do("begin")
        writer.do("send", "t1", 0, *values)
        writer.do(end)
    writer.do("begin")
    writer.do("send", "t1", 0, "open")
    stand.sleep(1)
    reader.do("read", "t1", 1)
    seen = [reader.do("poll", 100, 3.0), reader.do("ends", "t1", 0), reader.do("position", "t1", 0)]
    writer.do("abort")
    stand.sleep(1)
    return [*seen, reader.do("poll", 100, 3.0), reader.do("ends", "t1", 0), reader.do("position", "t1", 0)]


def a_member_that_joins_gets_its_share_after_the_other_gave_it_up(stand: Stand) -> Seen:
    stand.topic("t2", 2)
    first, second = stand.actor(), stand.actor()
    first.do("join", "g2", "a", "t2")
    seen = [until(stand, lambda: len(first.do("holds")) == 2, first)]
    second.do("join", "g2", "b", "t2")
    seen.append(until(stand, lambda: len(second.do("holds")) == 1, first, second))
    held = sorted(first.do("holds") + second.do("holds"))
    told, others = first.do("callbacks"), second.do("callbacks")
    seen.append(["assign", []] in told)  # a rebalance that brings nothing is told, too
    return [*seen, held, [what for what, parts in told if parts], [what for what, parts in others if parts]]


def a_member_that_stood_still_beyond_its_session_has_lost_everything(stand: Stand) -> Seen:
    stand.topic("t3", 2)
    first, second = stand.actor(), stand.actor()
    first.do("join", "g3", "a", "t3")
    first.do("start", "w3a")
    seen = [until(stand, lambda: len(first.do("holds")) == 2, first)]
    second.do("join", "g3", "b", "t3")
    until(stand, lambda: len(second.do("holds")) == 1, first, second)
    first.do("callbacks")
    first.do("remember")
    first.stop()
    seen.append(until(stand, lambda: len(second.do("holds")) == 2, second))
    first.go_on()
    first.do("begin")
    seen += [first.do("offsets", "t3", 0, 1, "kept"), first.do("abort")]
    told: Seen = []

    def heard() -> list[str]:
        told.extend(first.do("callbacks"))
        return [what for what, parts in told if parts]

    return [*seen, until(stand, lambda: len(heard()) >= 2, first, second), heard()]


def another_with_the_same_name_fences_the_first(stand: Stand) -> Seen:
    stand.topic("t4", 2)
    first, second = stand.actor(), stand.actor()
    first.do("join", "g4", "a", "t4")
    first.do("start", "w4a")
    seen = [until(stand, lambda: len(first.do("holds")) == 2, first)]
    first.do("remember")
    second.do("join", "g4", "a", "t4")
    seen.append(until(stand, lambda: len(second.do("holds")) == 2, second))
    first.do("begin")
    seen += [first.do("offsets", "t4", 0, 1, "kept"), first.do("abort")]
    stand.sleep(2)
    errors: Seen = []
    until(stand, lambda: bool(errors.extend(first.do("poll", 100, 0.2)) or errors), second)
    return [*seen, errors[0]]


def a_newer_producer_fences_the_older_one_and_ends_its_transaction(stand: Stand) -> Seen:
    stand.topic("t5", 1)
    first, second, reader = stand.actor(), stand.actor(), stand.actor()
    seen = [first.do("start", "w5"), first.do("begin"), first.do("send", "t5", 0, "old"), second.do("start", "w5")]
    seen += [second.do("begin"), second.do("send", "t5", 0, "new"), second.do("commit")]
    refused = first.do("commit")
    stand.sleep(1)
    reader.do("read", "t5", 1)
    return [*seen, refused[1:] if isinstance(refused, list) else refused, reader.do("poll", 100, 3.0)]


def offsets_of_an_open_transaction_are_waited_for(stand: Stand) -> Seen:
    stand.topic("t6", 1)
    member, other = stand.actor(), stand.actor()
    member.do("join", "g6", "a", "t6")
    until(stand, lambda: len(member.do("holds")) == 1, member)
    member.do("start", "w6")
    seen = [member.do("begin"), member.do("offsets", "t6", 0, 5)]
    other.do("read", "t6", 1, "g6")
    answer = other.do("committed", "t6", 0, 2.0)
    seen.append("not told" if answer in (["_TIMED_OUT", False, False], "UNSTABLE_OFFSET_COMMIT") else answer)
    seen.append(member.do("commit"))
    return [*seen, until(stand, lambda: other.do("committed", "t6", 0, 5.0) == 5)]


def what_was_accepted_before_partitions_moved_can_be_committed_after(stand: Stand) -> Seen:
    """A transaction's end asks for no generation: who takes over must wait for it, for its records as for its offsets."""
    stand.topic("t7", 1)
    stand.topic("t7out", 1)
    first, second = stand.actor(), stand.actor()
    first.do("join", "g7", "a", "t7")
    until(stand, lambda: len(first.do("holds")) == 1, first)
    first.do("start", "w7")
    seen = [first.do("begin"), first.do("send", "t7out", 0, "late"), first.do("offsets", "t7", 0, 3)]
    first.stop()
    second.do("join", "g7", "b", "t7")
    seen.append(until(stand, lambda: len(second.do("holds")) == 1, second))
    seen.append(second.do("ends", "t7out", 0))
    first.go_on()
    seen.append(first.do("commit"))
    seen.append(until(stand, lambda: second.do("committed", "t7", 0, 5.0) == 3, second))
    return [*seen, until(stand, lambda: second.do("ends", "t7out", 0) == [0, 2])]


def a_successor_by_name_of_one_that_had_not_given_up_yet_leaves_a_partition_to_nobody(stand: Stand) -> Seen:
    """So the broker has it: static members are replaced without a rebalance."""
    stand.topic("t8", 2)
    first, second, third = stand.actor(), stand.actor(), stand.actor()
    first.do("join", "g8", "a", "t8")
    until(stand, lambda: len(first.do("holds")) == 2, first)
    second.do("join", "g8", "b", "t8")
    for _ in range(30):
        second.do("poll", 1, 0.2)  # the first does not poll: what it is to give up waits
    first.stop()
    third.do("join", "g8", "a", "t8")
    for _ in range(40):
        second.do("poll", 1, 0.2)
        third.do("poll", 1, 0.2)
    return [len(second.do("holds")), len(third.do("holds"))]


def a_named_member_that_unsubscribes_has_left_before_its_session_ends(stand: Stand) -> Seen:
    stand.topic("t10", 2)
    first, second = stand.actor(), stand.actor()
    first.do("join", "g10", "a", "t10")
    until(stand, lambda: len(first.do("holds")) == 2, first)
    second.do("join", "g10", "b", "t10")
    until(stand, lambda: len(second.do("holds")) == 1, first, second)
    second.do("callbacks")
    first.do("leave")
    spent = 0.0
    while len(second.do("holds")) < 2 and spent < SESSION_AT_LEAST:
        second.do("poll", 100, 0.2)
        spent += 0.2
    return [first.do("callbacks")[-1][0], len(second.do("holds")), second.do("callbacks")[-1][0]]


def an_outsider_may_send_offsets_of_a_group_that_others_are_in(stand: Stand) -> Seen:
    """As `Writer.release` does it, to abort them."""
    stand.topic("t9", 1)
    member, outsider = stand.actor(), stand.actor()
    member.do("join", "t9-group", "a", "t9")
    until(stand, lambda: len(member.do("holds")) == 1, member)
    outsider.do("start", "w9")
    return [outsider.do("begin"), outsider.do("offsets", "t9", 0, 0, "outsider"), outsider.do("abort")]


ABORT_FIRST = [False, True]  # not fatal, and the transaction must be aborted
SCENES: dict[Callable[[Stand], Seen], Seen] = {
    markers_take_offsets_and_aborted_records_are_skipped: [
        *([[0, 0, "a"], [0, 1, "b"], [0, 6, "c"]], [0, 8], 8),
        *([], [0, 10], 10),
    ],
    a_member_that_joins_gets_its_share_after_the_other_gave_it_up: [
        *(True, True, True, [0, 1]),
        *(["assign", "revoke"], ["assign"]),
    ],
    a_member_that_stood_still_beyond_its_session_has_lost_everything: [
        *(True, True, ["UNKNOWN_MEMBER_ID", *ABORT_FIRST]),
        *("ok", True, ["lost", "assign"]),
    ],
    another_with_the_same_name_fences_the_first: [
        *(True, True, ["FENCED_INSTANCE_ID", *ABORT_FIRST]),
        *("ok", ["_FATAL", False]),
    ],
    a_newer_producer_fences_the_older_one_and_ends_its_transaction: [*["ok"] * 7, [True, False], [[0, 2, "new"]]],
    offsets_of_an_open_transaction_are_waited_for: ["ok", "ok", "not told", "ok", True],
    what_was_accepted_before_partitions_moved_can_be_committed_after: [*["ok"] * 3, True, [0, 0], "ok", True, True],
    a_successor_by_name_of_one_that_had_not_given_up_yet_leaves_a_partition_to_nobody: [0, 1],
    a_named_member_that_unsubscribes_has_left_before_its_session_ends: ["revoke", 2, "assign"],
    an_outsider_may_send_offsets_of_a_group_that_others_are_in: ["ok", "ok", "ok"],
}
