"""What each figure of a judgement means: its name in words, its unit, and whether more of it is better.

One table for the report, the registry's descriptions and the dashboard. Without heavy imports: a page may load it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum


class Better(StrEnum):
    """Which way a figure gets better."""

    LOWER = "lower is better"
    HIGHER = "higher is better"
    NEITHER = ""  # it describes, or has a right value of its own


@dataclass(frozen=True)
class Metric:
    """A figure in words. `unit` is what follows its number: `bp`, or nothing where it is a plain number or a share."""

    words: str
    unit: str = ""
    better: Better = Better.NEITHER
    is_share: bool = False  # shown in per cent

    def value(self, number: float) -> str:
        """Return a number as it is shown, with its unit."""
        if self.is_share:
            return f"{number * 100:.2f} %".replace("-", "−")
        shown = f"{number:,.0f}" if abs(number) >= 1000 or (self.unit and number == int(number)) else f"{number:.4g}"
        return f"{shown} {self.unit}".strip().replace("-", "−")

    @property
    def axis(self) -> str:
        """Return the label of an axis."""
        unit = "%" if self.is_share else self.unit
        return f"{self.words} ({unit})" if unit else self.words


HORIZON_WORDS = {"5m": "5 minutes", "15m": "15 minutes", "1h": "1 hour"}
_LOW, _HIGH, _NONE = Better.LOWER, Better.HIGHER, Better.NEITHER
_BP = "bp"
_TABLE = {
    # forecast
    "pinball_bp": Metric("quantile loss of the return, mean of the three horizons", _BP, _LOW),
    "pinball_{h}_bp": Metric("quantile loss of the return {h} ahead", _BP, _LOW),
    "pinball_skill": Metric("loss saved against quantiles scaled by past volatility, all horizons", "", _HIGH, True),
    "pinball_skill_{h}": Metric("loss saved against quantiles scaled by past volatility, {h} ahead", "", _HIGH, True),
    "pinball_skill_plain_{h}": Metric(
        "loss saved against the quantiles of all past returns, {h} ahead", "", _HIGH, True
    ),
    "pinball_gain_{h}": Metric("loss less than that of quantiles scaled by past volatility, {h} ahead", "", _HIGH),
    "coverage_90": Metric("share of returns inside the 90 % interval, 1 hour ahead (90 % is right)", "", _NONE, True),
    "coverage_90_mean": Metric(
        "share of returns inside the 90 % interval, mean of the horizons (90 % is right)", "", _NONE, True
    ),
    "coverage_90_{h}": Metric("share of returns inside the 90 % interval, {h} ahead (90 % is right)", "", _NONE, True),
    "coverage_90_worst": Metric(
        "share inside the 90 % interval, in the month and symbol where it was {side}", "", _NONE, True
    ),
    "rank_ic_{h}": Metric(
        "rank correlation of the usual direction (forecast: its median) with the return {h} ahead", "", _HIGH
    ),
    "rank_ic_1h_ir": Metric("the days' rank correlations, mean over deviation", "", _HIGH),
    # signal
    "log_loss": Metric("log loss of the probabilities", "nats", _LOW),
    "log_loss_base": Metric("log loss of the past's base rates", "nats", _LOW),
    "log_loss_logistic": Metric("log loss of a plain logistic regression", "nats", _LOW),
    "log_loss_har": Metric("log loss of the HAR regression", "nats", _LOW),
    "log_loss_gain_base": Metric("log loss less than that of the base rates", "nats", _HIGH),
    "log_loss_gain_logistic": Metric("log loss less than that of a plain logistic regression", "nats", _HIGH),
    "rank_ic_{h}_tails": Metric(
        "rank correlation of the tails' lean, P(Buy) − P(Sell), with the return {h} ahead, whose middle it is not about"
    ),
    "rank_ic_action_tails": Metric(
        "rank correlation of the tails' lean, P(Buy) − P(Sell), with the barrier that is touched", "", _HIGH
    ),
    "ece_usual": Metric("calibration error of the chance that who buys ends higher", "", _LOW, True),
    "expected_gap_bp": Metric("expected return of buying less what came, in the mean (0 is right)", _BP),
    "expected_slope": Metric(
        "how far what came goes with the expected return of buying (1 is right, 0: not at all)", "", _HIGH
    ),
    "round_trip_bp": Metric("costs of entering and leaving that the signal acted by", _BP),
    "acts_below_bp": Metric("costs of entering and leaving up to which it would act (0: at none)", _BP),
    "brier_actions": Metric("Brier score of the three actions", "", _LOW),
    "trades": Metric("judged trades, or actions that were taken", "", _NONE),
    "net_bp_per_trade": Metric("earned by an action after costs", _BP, _HIGH),
    "net_bp_total": Metric("earned by all actions after costs", _BP, _HIGH),
    "break_even_bp": Metric(
        "cost a side at which following the expected move on every candle, five minutes late, leaves nothing",
        _BP,
        _HIGH,
    ),
    "break_even_bp_no_latency": Metric("the same cost, entered at once at the next candle's open", _BP, _HIGH),
    "ledger_trades": Metric("actions that the ledger of held-out candles could fill", "", _NONE),
    "ledger_net_bp": Metric("earned by such an action after a taker's 10 bp a side", _BP, _HIGH),
    "ledger_trades_taker": Metric("trades where the expected move beats a round trip at 10 bp a side", "", _NONE),
    "ledger_trades_futures": Metric("trades where the expected move beats a round trip at 4 bp a side", "", _NONE),
    "ledger_trades_maker": Metric("trades where the expected move beats a round trip at 2 bp a side", "", _NONE),
    "ledger_net_bp_taker": Metric("earned by such a trade after 10 bp a side", _BP, _HIGH),
    "ledger_net_bp_futures": Metric("earned by such a trade after 4 bp a side", _BP, _HIGH),
    "ledger_net_bp_maker": Metric("earned by such a trade after 2 bp a side", _BP, _HIGH),
    "hold_share": Metric("share of candles on which the signal says Hold", "", _NONE, True),
    # risk
    "auc": Metric("chance that an abnormal hour is ranked above an ordinary one", "", _HIGH, True),
    "auc_har": Metric("the same chance (AUC) of the HAR regression", "", _HIGH, True),
    "auc_last_hour": Metric("the same chance (AUC) of the last hour's volatility", "", _HIGH, True),
    "auc_gain": Metric("AUC above that of the HAR regression", "", _HIGH, True),
    "brier": Metric("Brier score of the probability of an abnormal hour", "", _LOW),
    "brier_har": Metric("Brier score of the HAR regression", "", _LOW),
    "brier_base": Metric("Brier score of the past's base rate", "", _LOW),
    "brier_skill": Metric("squared error saved against the HAR regression", "", _HIGH, True),
    "brier_gain": Metric("Brier score less than that of the HAR regression", "", _HIGH),
    "ece": Metric("distance of probabilities from frequencies, in the mean (calibration error)", "", _LOW, True),
    "ece_har": Metric("calibration error of the HAR regression", "", _LOW, True),
    "rate": Metric("share of abnormal hours", "", _NONE, True),
    # anomaly
    "missed_fat_fingers": Metric("planted fat fingers that were not found", "", _LOW),
    "fat_finger_recall": Metric("share of planted fat fingers that were found", "", _HIGH, True),
    "fat_fingers": Metric("fat fingers that were planted", "", _NONE),
    "false_alarms": Metric("share of ordinary trades that were flagged", "", _LOW, True),
    "false_alarms_per_100k": Metric("alarms in 100,000 ordinary trades", "", _LOW),
    "novel_share": Metric("share of candles that are called novel", "", _NONE, True),
    # all
    "fit_seconds": Metric("time of the fit", "s", _NONE),
}
_SUFFIXES = {
    "_low": "{words}: lower end of the 95 % interval",
    "_high": "{words}: upper end of the 95 % interval",
    "_dm": "{words}: Diebold–Mariano statistic",
    "_p": "{words}: probability of so much by chance (Diebold–Mariano)",
}
_SIDES = {"_low": "lowest", "_high": "highest"}
_HORIZON = re.compile(r"(?<=_)(5m|15m|1h)(?=_|$)")


def known(name: str) -> bool:
    """Tell whether a figure has words."""
    return _found(name) is not None


def words(name: str) -> Metric:
    """Return what a figure is; one without words is named as it is written."""
    return _found(name) or Metric(name.replace("_", " "))


def _found(name: str) -> Metric | None:
    if (plain := _plain(name)) is not None:
        return plain
    suffix = next((one for one in _SUFFIXES if name.endswith(one)), "")
    base = _plain(name.removesuffix(suffix)) if suffix else None
    if base is None:
        return None
    if "{side}" in base.words:
        return Metric(base.words.format(side=_SIDES[suffix]), base.unit, base.better, base.is_share)
    is_bound = suffix in _SIDES
    told = _SUFFIXES[suffix].format(words=base.words)
    return Metric(told, base.unit, base.better, base.is_share) if is_bound else Metric(told)


def _plain(name: str) -> Metric | None:
    if name in _TABLE:
        return _TABLE[name]
    found = _HORIZON.search(name)
    if found is None:
        return None
    one = _TABLE.get(_HORIZON.sub("{h}", name))
    return one and Metric(one.words.format(h=HORIZON_WORDS[found[0]]), one.unit, one.better, one.is_share)
