"""The schemas of the lake's tables: columns, exact types, partitions; whether a table has them; and candles as rows of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from quantstream.core.accounts import Account
from quantstream.core.candle import Candle
from quantstream.core.decimals import DECIMALS, QUOTE_DECIMALS, units_decimal
from quantstream.core.errors import Misconfigured

TIME = pa.timestamp("us", tz="UTC")
PRICE = pa.decimal128(38, DECIMALS)
QUOTE = pa.decimal128(38, QUOTE_DECIMALS)
KNOWN_AT = "known_at"  # when a revision became known to us, by our clock

_KEY = [("symbol", pa.string()), ("date", pa.date32())]
DERIVED = ("date", "month")  # what the lake makes of a row's time: writers do not give it
_KEY_BY_MONTH = [*_KEY, ("month", pa.string())]  # 2025-11, of the date
CANDLE_FIELDS: list[tuple[str, pa.DataType]] = [
    ("symbol", pa.string()),
    ("opened_at", TIME),
    ("open", PRICE),
    ("high", PRICE),
    ("low", PRICE),
    ("close", PRICE),
    ("volume", PRICE),
    ("quote_volume", QUOTE),
    ("trade_count", pa.int64()),
    ("taker_buy_volume", PRICE),
    ("taker_buy_quote_volume", QUOTE),
    ("first_trade_id", pa.int64()),
    ("last_trade_id", pa.int64()),
    ("is_complete", pa.bool_()),
]
ACCOUNT_COUNTS = (
    *("candles", "equal", "incomplete", "corrected", "missing", "different", "duplicate", "unproved", "pending"),
    *("trades", "missing_trades"),
)
SINK_COUNTS = tuple(f"sink_{name}" for name in (*Account.__struct_fields__, "rows"))
PROOF_COUNTS = (
    *("equal", "different", "missing", "duplicate", "incomplete", "unproved", "pending"),
    *("scored_once", "unscored", "scored_twice", "trades", "missing_trades"),
)
_FORECAST = pa.struct(
    [
        ("horizon", pa.string()),
        ("levels", pa.list_(pa.float64())),
        ("log_returns", pa.list_(pa.float64())),
        ("targets", pa.list_(pa.float64())),
    ]
)
SCHEMAS: dict[str, pa.Schema] = {
    "trades": pa.schema(
        [
            *_KEY,
            ("id", pa.int64()),
            ("first_trade_id", pa.int64()),
            ("last_trade_id", pa.int64()),
            ("price", PRICE),
            ("quantity", PRICE),
            ("traded_at", TIME),
            ("buyer_is_maker", pa.bool_()),
            ("received_at", TIME),
            ("origin", pa.string()),
        ]
    ),
    "candles": pa.schema(
        [
            *_KEY_BY_MONTH,
            ("interval", pa.string()),
            *CANDLE_FIELDS[1:],
            ("revision", pa.int32()),
            ("source", pa.string()),
            (KNOWN_AT, TIME),
        ]
    ),
    "scores": pa.schema(
        [
            *_KEY_BY_MONTH,
            ("interval", pa.string()),
            ("opened_at", TIME),
            ("revision", pa.int32()),
            ("close", pa.float64()),
            ("scored_at", TIME),
            ("feature_hash", pa.string()),
            ("forecasts", pa.list_(_FORECAST)),
            ("action", pa.string()),
            ("buy", pa.float64()),
            ("hold", pa.float64()),
            ("sell", pa.float64()),
            ("risk", pa.float64()),
            ("novelty", pa.float64()),
            ("reasons", pa.list_(pa.string())),
            ("models", pa.map_(pa.string(), pa.string())),
            ("abstained", pa.string()),
            ("elapsed_ms", pa.float64()),
            (KNOWN_AT, TIME),
            ("stale", pa.list_(pa.string())),
            ("history_from", TIME),  # of the candles that it was made of; empty in scores of before
            ("history_digest", pa.string()),
            ("usually_up", pa.float64()),  # as `Signal` has them; empty in scores of before
            ("tail_lean", pa.float64()),
            ("expected_return", pa.float64()),
            ("round_trip_cost", pa.float64()),
        ]
    ),
    "anomalies": pa.schema(
        [
            *_KEY,
            ("trade_id", pa.int64()),
            ("traded_at", TIME),
            ("price", PRICE),
            ("quantity", PRICE),
            ("buyer_is_maker", pa.bool_()),
            ("score", pa.float64()),
            ("reasons", pa.list_(pa.string())),
            ("model", pa.string()),
            ("detected_at", TIME),
            ("stale", pa.bool_()),  # empty in anomalies of before
        ]
    ),
    "proofs": pa.schema(
        [
            *_KEY,
            ("interval", pa.string()),
            ("verified_at", TIME),
            ("start", pa.string()),
            ("end", pa.string()),
            *((name, pa.int64()) for name in PROOF_COUNTS),
            ("differences", pa.list_(pa.string())),
            ("not_compared", pa.string()),
            ("run", pa.string()),
        ]
    ),
    "accounts": pa.schema(
        [
            *_KEY,
            ("day", TIME),  # its beginning; of several rows of a day the one made last counts
            ("made_at", TIME),
            ("condition", pa.string()),  # whole, degraded, pending, missing
            ("why", pa.string()),
            *((name, pa.int64()) for name in ACCOUNT_COUNTS),
            *((name, pa.int64()) for name in SINK_COUNTS),  # since ever, as of the end of the day or of `made_at`
        ]
    ),
}
SCHEMAS["instruments"] = pa.schema(
    [
        *_KEY,
        ("changed_at", TIME),  # the exchange's time from which on the symbol stood so, as far as we have seen
        ("status", pa.string()),  # the exchange's word, or DELISTED
        ("base", pa.string()),
        ("quote", pa.string()),
        ("tick", PRICE),
        ("lot", PRICE),
        ("min_notional", PRICE),
        ("listed_at", TIME),  # where the exchange says
        ("source", pa.string()),
        (KNOWN_AT, TIME),
    ]
)
QUARANTINE = "quarantine"
QUARANTINED = ("trades", "candles", "features", "scores")  # the tables whose partitions are validated and can be held
SCHEMAS[QUARANTINE] = pa.schema(
    [
        *_KEY,
        ("day", TIME),  # the beginning of the day whose partition is meant
        ("table", pa.string()),
        ("expectation", pa.string()),
        ("change", pa.string()),  # held, released
        ("reason", pa.string()),
        ("changed_at", TIME),  # our clock
        ("by", pa.string()),  # the gate, or who
        ("run", pa.string()),
        ("rows", pa.int64()),  # that broke it; 0 where it is about the whole day
    ]
)
SHADOW_SCORES, OUTCOMES, DECISIONS = "shadow_scores", "outcomes", "decisions"
SCHEMAS[SHADOW_SCORES] = SCHEMAS["scores"]  # of challengers: recorded, and never shown as advice
SCHEMAS[OUTCOMES] = pa.schema(
    [
        *_KEY_BY_MONTH,
        ("interval", pa.string()),
        ("opened_at", TIME),  # of the candle that was scored
        ("revision", pa.int32()),  # of that candle, as it was scored
        ("scored_at", TIME),
        ("model", pa.string()),  # registered name
        ("version", pa.string()),
        ("role", pa.string()),  # champion, challenger
        ("actual", pa.map_(pa.string(), pa.float64())),  # by label: what came
        ("measures", pa.map_(pa.string(), pa.float64())),  # by name of the measure: how far the score was right
        ("loss", pa.float64()),  # the one that promotions and rollbacks go by; lower is better
        (KNOWN_AT, TIME),  # when score and outcome were joined
    ]
)
SCHEMAS[DECISIONS] = pa.schema(
    [
        ("date", pa.date32()),
        ("decided_at", TIME),  # our clock
        ("model", pa.string()),  # registered name
        ("version", pa.string()),  # that is decided on
        ("change", pa.string()),  # as `ml.promotion.decisions.Change` has them
        ("before", pa.string()),  # the version that served until then; empty where none did
        ("by", pa.string()),  # a pipeline's run, or who
        ("why", pa.string()),
        ("evidence", pa.string()),  # JSON
    ]
)
LIVE_FIGURES = "live_figures"
SCHEMAS[LIVE_FIGURES] = pa.schema(
    [
        ("date", pa.date32()),
        ("looked_at", TIME),  # our clock
        ("model", pa.string()),  # registered name
        ("version", pa.string()),
        ("role", pa.string()),  # champion, challenger
        ("until", TIME),  # end of the day of candles that the figures are of, market time
        ("candles", pa.int64()),
        ("rows", pa.int64()),
        ("loss", pa.float64()),  # mean, as `outcomes` has it, with its 95 % bounds
        ("loss_low", pa.float64()),
        ("loss_high", pa.float64()),
        ("promised", pa.float64()),  # the mean loss on what it was judged on; null where nobody knows
        ("bound", pa.float64()),  # what a day as promised comes to at most, by chance
        ("drifted", pa.list_(pa.string())),  # features and outputs that are not distributed as they were
        ("alarms_per_100k", pa.float64()),  # of the anomaly model: trades that it called strange
        ("measures", pa.map_(pa.string(), pa.float64())),
        ("by_symbol", pa.map_(pa.string(), pa.float64())),  # mean loss
        ("verdict", pa.string()),  # what was found and done, in a sentence
    ]
)
DRIFT_BLOCKS = "drift_blocks"
SCHEMAS[DRIFT_BLOCKS] = pa.schema(
    [
        ("date", pa.date32()),
        ("written_at", TIME),  # our clock
        ("model", pa.string()),  # registered name
        ("version", pa.string()),
        ("block", TIME),  # its beginning, market time; a quarter of a day
        ("is_reference", pa.bool_()),  # of the days that the version was fitted on
        ("strangeness", pa.float64()),  # log of its mean distance, in ordinary ones
        ("farthest", pa.string()),  # the feature that lies farthest off
        ("capital", pa.float64()),  # of a bet of 1 against what is as ever, after this block; null in the reference
    ]
)
LOOKS = "looks"
SCHEMAS[LOOKS] = pa.schema(
    [
        ("date", pa.date32()),
        ("number", pa.int64()),  # of the line, from 1 on
        ("looked_at", TIME),  # our clock
        ("by", pa.string()),  # a command, or a pipeline's run
        ("kind", pa.string()),  # of model
        ("candidate", pa.string()),  # a registered version, or a digest of what came out
        ("role", pa.string()),  # candidate, champion, reference, trial
        ("data", pa.string()),  # where the rows are from
        ("data_hash", pa.string()),  # of the held-out rows
        ("symbols", pa.list_(pa.string())),
        ("first", TIME),  # opening times of the first and the last candle judged
        ("last", TIME),
        ("rows", pa.int64()),
        ("settings", pa.string()),  # JSON
        ("code", pa.string()),
        ("figures", pa.string()),  # JSON
        ("before", pa.string()),  # hash of the line before
        ("hash", pa.string()),  # of all of this line but itself
    ]
)
RELEASES = "releases"
SCHEMAS[RELEASES] = pa.schema(
    [
        ("date", pa.date32()),
        ("renewal", pa.int64()),  # from 1 on; the rows of the newest one are the calendar
        ("renewed_at", TIME),  # our clock
        ("by", pa.string()),
        ("kind", pa.string()),
        ("at", TIME),  # of the release
        ("source", pa.string()),  # who announced it, where
        ("announced_on", pa.string()),  # a day; empty where it was not looked up
        ("known_until", pa.date32()),  # the last day for which all releases of this kind are known
    ]
)
VALUE_AT_RISK = "value_at_risk"
_SHARES = pa.list_(pa.float64())  # of the price, one for each of `levels`
SCHEMAS[VALUE_AT_RISK] = pa.schema(
    [
        *_KEY,
        ("horizon", pa.string()),  # 1h, 1d
        ("told_at", TIME),  # the close (market time) that it looks ahead from
        ("made_at", TIME),  # our clock
        ("known_by", TIME),  # our clock: candles, and their revisions, known by then went into it
        ("version", pa.string()),  # of the arithmetic
        ("close", pa.float64()),
        ("sigma", pa.float64()),  # of the log return over the horizon
        ("levels", _SHARES),
        ("var_long", _SHARES),
        ("es_long", _SHARES),
        ("var_short", _SHARES),
        ("es_short", _SHARES),
        ("history_digest", pa.string()),  # of the candles that it was made of
    ]
)
TIME_COLUMN = {
    "trades": "traded_at",
    "candles": "opened_at",
    "scores": "opened_at",
    "anomalies": "traded_at",
    "proofs": "verified_at",
    "accounts": "day",
    "instruments": "changed_at",
    QUARANTINE: "changed_at",
    SHADOW_SCORES: "opened_at",
    OUTCOMES: "opened_at",
    DECISIONS: "decided_at",
    LIVE_FIGURES: "looked_at",
    DRIFT_BLOCKS: "written_at",
    LOOKS: "looked_at",
    RELEASES: "renewed_at",
    VALUE_AT_RISK: "told_at",
}
PARTITIONS = ["symbol", "date"]
BY_MONTH = ["symbol", "month"]  # a few rows a symbol and day: a file a day would be 365 a symbol and year
BY_DATE = ("instruments", QUARANTINE, DECISIONS, LIVE_FIGURES, DRIFT_BLOCKS, LOOKS, RELEASES, VALUE_AT_RISK)
TEXTS = (pa.string(), pa.large_string(), pa.string_view())  # types that hold the same


def partitions_of(name: str) -> list[str]:
    """Return what a table is partitioned by: where one commit holds a row of each of thousands of symbols, by date alone."""
    if name in ("candles", "scores", SHADOW_SCORES, OUTCOMES):
        return BY_MONTH
    return ["date"] if name in BY_DATE else PARTITIONS


def candle_rows(
    candles: Sequence[Candle], with_key: bool = True, known_at: Sequence[int | None] | None = None
) -> pa.Table:
    """Return candles as an Arrow table, exact; with `interval`, `revision`, `source` and `known_at` for the lake when `with_key`.

    `known_at` says of each when it became known (µs, our clock); without it they do not say.
    """
    columns: dict[str, pa.Array] = {}
    for name, kind in CANDLE_FIELDS:
        values = [getattr(candle, name) for candle in candles]
        if pa.types.is_decimal(kind):
            values = [units_decimal(value, kind.scale) for value in values]
        columns[name] = pa.array(values, pa.int64()).cast(kind) if kind == TIME else pa.array(values, kind)
    if with_key:
        columns["interval"] = pa.array([candle.interval for candle in candles], pa.string())
        columns["revision"] = pa.array([candle.revision for candle in candles], pa.int32())
        columns["source"] = pa.array([candle.source for candle in candles], pa.string())
        known = [None] * len(candles) if known_at is None else known_at
        columns[KNOWN_AT] = pa.array(known, pa.int64()).cast(TIME)
    return pa.table(columns)


def lacking(name: str, table: Any) -> list[pa.Field]:
    """Return the columns that a table lacks, as this version has them.

    Raises: Misconfigured when it has others than this version knows, or of other types.
    """
    found = pa.schema(table.schema())
    wanted = SCHEMAS[name]
    unknown = [column for column in found.names if column not in wanted.names]
    if unknown:
        raise Misconfigured(
            f"the lake table {name} was written by a newer version: it has {', '.join(unknown)}; upgrade QuantStream to write it"
        )
    for column in found:
        if not _same(column.type, wanted.field(column.name).type):
            raise Misconfigured(
                f"the lake table {name} has {column.name} as {column.type} where it should be {wanted.field(column.name).type}; "
                "nothing was written, for a change of type may lose data: put its rows into a new lake"
            )
    return [column for column in wanted if column.name not in found.names]


def expect_columns(name: str, table: Any) -> None:
    """Raise Misconfigured when a table has not the columns or the partitions that rows of this version have."""
    if columns := ", ".join(column.name for column in lacking(name, table)):
        raise Misconfigured(
            f"the lake table {name} is of an older version: it lacks {columns}; run `quantstream lake migrate`, "
            "which adds what is new and loses nothing"
        )
    if table.metadata().partition_columns != partitions_of(name):
        raise Misconfigured(
            f"the lake table {name} is partitioned by {' and '.join(table.metadata().partition_columns)} as in an older version, "
            f"or is being migrated: run `quantstream lake migrate`, after which it is by {' and '.join(partitions_of(name))}"
        )


def _same(one: pa.DataType, other: pa.DataType) -> bool:
    """Tell whether two types hold the same; how names inside of lists and maps are spelled is the library's own."""
    if pa.types.is_nested(one) or pa.types.is_nested(other):
        return bool(pa.types.is_nested(one) and pa.types.is_nested(other))
    return bool(one == other or (one in TEXTS and other in TEXTS))
