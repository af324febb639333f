"""What the topics hold: the values of their records, and the codec of each."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Literal, TypeVar

import msgspec

from quantstream.core.candle import Candle
from quantstream.core.candle_json import parse_candle, print_candle
from quantstream.core.errors import BadRecord
from quantstream.core.partial_sums import SymbolState


class Forecast(msgspec.Struct, frozen=True):
    """Quantiles of the forward log return over one horizon, and the price targets `close × exp(quantile)`."""

    horizon: str  # 5m, 15m, 1h
    levels: list[float]  # e.g. [0.05, 0.25, 0.5, 0.75, 0.95]
    log_returns: list[float]
    targets: list[float]


class Signal(msgspec.Struct, frozen=True):
    """Calibrated probabilities of Buy, Hold and Sell, the direction in two numbers, and the action that pays at the user's costs.

    `usually_up` says what mostly happens, `tail_lean` which of the rare far moves is likelier: they may well point apart. What is
    None nobody said: scores of before have none of it, models of before no usual direction.
    """

    action: Literal["Buy", "Hold", "Sell"]
    buy: float
    hold: float
    sell: float
    usually_up: float | None = None  # chance that who buys ends higher: at the barrier touched first, or after the hour
    tail_lean: float | None = None  # buy − sell, −1 to 1
    expected_return: float | None = None  # of buying, over all outcomes, before costs: a log return
    round_trip_cost: float | None = None  # a share of the price: by it the action was decided


class Score(msgspec.Struct, frozen=True):
    """The champions' predictions for one closed candle; parts are None where a model is missing or abstains (`abstained`)."""

    symbol: str
    interval: str
    opened_at: int  # of the candle, µs
    revision: int  # of the candle
    close: float
    scored_at: int  # µs, the scorer's wall clock
    feature_hash: str  # which definition of the features
    forecasts: list[Forecast] = []
    signal: Signal | None = None
    risk: float | None = None  # 0..100
    novelty: float | None = None  # 0..1, above 0.5 is novel
    reasons: list[str] = []
    models: dict[str, str] = {}  # registered name → version that made this score
    abstained: str = ""
    elapsed_ms: float = 0.0  # from candle received to score made
    stale: list[str] = []  # of `models` those past their age limit: they serve until a newer one does
    history_from: int = 0  # µs, when the oldest candle opened that the scorer held; 0 where it does not say
    history_digest: str = ""  # of all candles that it held: whoever puts them together again can tell that it has them


class Anomaly(msgspec.Struct, frozen=True):
    """A flagged trade. `price` and `quantity` in 10⁻⁸ like the trade's."""

    symbol: str
    trade_id: int
    traded_at: int  # µs
    price: int
    quantity: int
    buyer_is_maker: bool
    score: float  # 0..1, higher is stranger
    reasons: list[str]
    model: str  # name/version that flagged it
    detected_at: int  # µs, wall clock
    stale: bool = False  # whether the model was past its age limit: it serves until a newer one does


class DeadRecord(msgspec.Struct, frozen=True):
    """A record nobody could parse, with the reason and where it came from."""

    source: str  # stage and topic-partition-offset or connection
    reason: str
    raw: str  # the first 4,096 characters
    at: int  # µs, wall clock


class ModelMove(msgspec.Struct, frozen=True):
    """An alias of a registered model moved: whoever holds versions of it should look at the registry now."""

    model: str  # registered name
    version: str  # that was decided on
    change: str  # as `ml.promotion.decisions.Change` has them
    before: str  # the version that served until then, empty where none did
    by: str  # a pipeline's run, or who
    why: str
    at: int  # µs, wall clock


class EventKind(StrEnum):
    """Everything that operators are told of in `ops.events.v1`: what emits one, colours one or explains one goes by this."""

    FEED_STALLED = "feed_stalled"  # a connection was dead, not only quiet
    FEED_RECOVERED = "feed_recovered"
    STREAM_MUTE = "stream_mute"  # a stream brought nothing though REST had trades
    STREAM_RECOVERED = "stream_recovered"
    SILENCE_UNPROVEN = "silence_unproven"  # REST does not say whether silent symbols are quiet
    SILENCE_PROVEN = "silence_proven"
    SYMBOL_SET_ASIDE = "symbol_set_aside"  # the exchange knows it no more; it is asked for again
    SYMBOL_BACK = "symbol_back"
    GAP_FOUND = "gap_found"
    GAP_REPAIRED = "gap_repaired"
    GAP_GIVEN_UP = "gap_given_up"  # not asked for any more; its candles are corrected from klines
    CANDLES_DIFFER = "candles_differ"  # the proof found stored candles, trades and klines apart
    MODEL_SWAPPED = "model_swapped"
    MODEL_REFUSED = "model_refused"  # a champion that does not load or predict; the one before stays
    MODEL_IN_SHADOW = "model_in_shadow"  # it passed the gate, and is scored beside the champion
    MODEL_PROMOTED = "model_promoted"
    MODEL_EXPIRED = "model_expired"  # a challenger that did not earn its promotion
    MODEL_ROLLED_BACK = "model_rolled_back"  # the version before serves again
    MODEL_FOUND = "model_found"  # an alias was moved by other means than ours
    SHADOW_STOPPED = (
        "shadow_stopped"  # a challenger raised, gave no number or took too long; the champion is not touched
    )
    MODEL_STALE = "model_stale"  # a champion is past its age limit: it serves on, and what it says is marked
    MODEL_WORSE = "model_worse"  # a champion's live loss is significantly above what it promised
    MODEL_DRIFT = "model_drift"  # features or a model's outputs are distributed otherwise than when it was fitted
    CHAMPIONS_UNWATCHED = "champions_unwatched"  # a look at the registry failed in a way nobody foresaw
    LAKE_AWAY = "lake_away"  # score goes on with what it has in memory
    LAKE_BACK = "lake_back"
    SYMBOL_NOT_SCORED = "symbol_not_scored"  # its history or a model raised; the other symbols were scored
    BALANCE_OFF = "balance_off"  # what a stage read of a symbol is not what became of it
    CALENDAR_ENDS = (
        "calendar_ends"  # releases are known for some days more, or no longer: later hours count as ordinary
    )
    CALENDAR_RENEWED = "calendar_renewed"
    TOPIC_DIFFERS = "topic_differs"  # the broker's topic has another number of partitions than is set


GRAVE = frozenset(
    {
        EventKind.FEED_STALLED,
        EventKind.STREAM_MUTE,
        EventKind.SILENCE_UNPROVEN,
        EventKind.SYMBOL_SET_ASIDE,
        EventKind.GAP_FOUND,
        EventKind.GAP_GIVEN_UP,
        EventKind.CANDLES_DIFFER,
        EventKind.MODEL_REFUSED,
        EventKind.MODEL_ROLLED_BACK,
        EventKind.MODEL_FOUND,
        EventKind.SHADOW_STOPPED,
        EventKind.MODEL_STALE,
        EventKind.MODEL_WORSE,
        EventKind.MODEL_DRIFT,
        EventKind.CHAMPIONS_UNWATCHED,
        EventKind.CALENDAR_ENDS,
        EventKind.LAKE_AWAY,
        EventKind.SYMBOL_NOT_SCORED,
        EventKind.BALANCE_OFF,
        EventKind.TOPIC_DIFFERS,
    }
)  # kinds that somebody should look into


class Event(msgspec.Struct, frozen=True):
    """Something an operator wants to know; `kind` is one of `EventKind`, as text, so that older readers read newer writers."""

    source: str
    kind: str
    text: str  # one readable sentence
    at: int  # µs, wall clock
    symbol: str = ""
    detail: dict[str, str | int | float] = {}


class OpenCandles(msgspec.Struct):
    """Value of `market.candles.open.v1`: the aggregator's whole state of one symbol, and the candles being built."""

    state: SymbolState
    candles: list[msgspec.Raw]  # as `print_candle` prints them

    @classmethod
    def of(cls, state: SymbolState, candles: Iterable[Candle]) -> OpenCandles:
        """Return a state with its candles."""
        return cls(state, [msgspec.Raw(print_candle(candle)) for candle in candles])

    def built(self) -> list[Candle]:
        """Return the candles being built.

        Raises: BadRecord.
        """
        return [parse_candle(raw) for raw in self.candles]


T = TypeVar("T", bound=msgspec.Struct)
_encoder = msgspec.json.Encoder()


def encode(value: msgspec.Struct) -> bytes:
    """Return a value's JSON; candles print their numbers as exact decimal text."""
    return print_candle(value) if isinstance(value, Candle) else _encoder.encode(value)


def decode(raw: bytes, kind: type[T]) -> T:
    """Return the value of a record.

    Raises: BadRecord when the bytes are not such a value.
    """
    if kind is Candle:
        return parse_candle(raw)  # type: ignore[return-value]  # T is Candle here
    try:
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadRecord(f"not a {kind.__name__}: {error}") from error
