"""The forecast's judgement: quantile loss, coverage and rank correlation, beside empirical quantiles scaled and unscaled."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ml import measures
from ml.data.dataset import Dataset, Rows, Split
from ml.evaluation import bootstrap
from ml.evaluation.judgement import Chosen, Loss, Report, fitted_on, named, report_of, serve, skill_of, skills_of
from ml.models import forecast, risk
from ml.models.base import Model
from ml.models.parts import network
from quantstream.core.rolling import Floats
from quantstream.messages.models import HORIZONS

HAR_SHORT = risk.HAR[:3]  # what the baseline knows of: a day back
FEWEST_IN_MONTH = 500  # candles before a symbol's month says anything of coverage


def judge_forecast(model: Model, data: Dataset, split: Split) -> Report:
    """Pinball loss, coverage and rank correlation per horizon against HAR-scaled and unscaled empirical quantiles."""
    rows, seen = split.judge, fitted_on(data, split)
    predicted = serve(model, data, rows)
    baselines = {label: _har_quantiles(data, seen, rows, label) for label in forecast.LABELS}
    actual = {label: data.labels[label][rows] for label in forecast.LABELS}
    said = (list(np.moveaxis(predicted, 1, 0)), *zip(*(baselines[label] for label in forecast.LABELS), strict=True))
    ours, har, plain = (_losses(actual, quantiles) for quantiles in said)

    def figures(part: Chosen) -> dict[str, float]:
        held = [
            measures.coverage(actual[label][part], predicted[part, h, 0], predicted[part, h, -1])
            for h, label in enumerate(forecast.LABELS)
        ]
        loss, scaled, unscaled = (each[:, part].mean(axis=1) for each in (ours, har, plain))
        found = {
            "pinball_bp": float(loss.mean()),
            "pinball_skill": skill_of(float(loss.mean()), float(scaled.mean())),
            "coverage_90": held[-1],
            "coverage_90_mean": float(np.mean(held)),
        }
        for h, (horizon, label) in enumerate(zip(HORIZONS, forecast.LABELS, strict=True)):
            found[f"pinball_{horizon}_bp"] = float(loss[h])
            found[f"pinball_skill_{horizon}"] = skill_of(float(loss[h]), float(scaled[h]))
            found[f"pinball_skill_plain_{horizon}"] = skill_of(float(loss[h]), float(unscaled[h]))
            found[f"coverage_90_{horizon}"] = held[h]
            found[f"rank_ic_{horizon}"] = measures.rank_correlation(actual[label][part], predicted[part, h, 2])
        return found

    report = report_of("forecast", data, rows, figures)
    hour = actual["return_1h"]
    report.metrics.update(_claims(hour, predicted[:, -1], baselines["return_1h"][0], data, rows))
    inside = (hour >= predicted[:, -1, 0]) & (hour <= predicted[:, -1, -1])
    held = _monthly(data, rows, inside)
    months = {symbol: {month: one[0] for month, one in found.items()} for symbol, found in held.items()}
    report.cuts["coverage_by_month"] = months
    report.skills["coverage_by_month"] = {
        f"{symbol} {month}": one for symbol, found in held.items() for month, one in found.items()
    }
    spread = [share for month in months.values() for share in month.values()]
    report.metrics.update(
        {"coverage_90_worst_low": min(spread), "coverage_90_worst_high": max(spread)} if spread else {}
    )
    days = bootstrap.days_of(data.opened_at[rows])
    report.curves["quantiles"] = [
        [float(level), *measures.frequency((hour <= predicted[:, -1, i]).astype(float), days)]
        for i, level in enumerate(network.LEVELS)
    ]
    report.losses.update(_losses_by_name(ours, har, plain, bootstrap.blocks_of(data.opened_at[rows])))
    report.skills.update(skills_of(data, rows, ours.mean(axis=0), har.mean(axis=0)))
    return report


def _losses(actual: dict[str, Floats], quantiles: Sequence[Floats]) -> Floats:
    """Return each horizon's quantile losses in bp: (horizons, rows)."""
    each = zip(forecast.LABELS, quantiles, strict=True)
    return np.stack([measures.pinball_rows(actual[label], said, network.LEVELS) * 1e4 for label, said in each])


def _losses_by_name(ours: Floats, har: Floats, plain: Floats, blocks: bootstrap.Blocks) -> dict[str, Loss]:
    beside = {"quantiles scaled by past volatility": har, "the quantiles of all past returns": plain}
    whole = Loss(ours.mean(axis=0), blocks, {name: each.mean(axis=0) for name, each in beside.items()})
    return {"pinball_bp": whole, **{f"pinball_{HORIZONS[h]}_bp": Loss(one, blocks) for h, one in enumerate(ours)}}


def _claims(hour: Floats, ours: Floats, har: Floats, data: Dataset, rows: Rows) -> dict[str, float]:
    """What is claimed of the hour's quantiles, (rows, levels), with bounds: rank correlation, skill over HAR-scaled ones."""
    days = bootstrap.days_of(data.opened_at[rows])
    low, high = bootstrap.rank_correlation_bounds(hour, ours[:, 2], days)
    loss, theirs = (measures.pinball_rows(hour, quantiles, network.LEVELS) for quantiles in (ours, har))
    return {
        "rank_ic_1h_low": low,
        "rank_ic_1h_high": high,
        **_daily_ic(hour, ours[:, 2], days),
        **named("pinball_skill_1h", bootstrap.skill(loss, theirs, days), ("_low", "_high")),
        **named("pinball_gain_1h", bootstrap.mean_gain(loss, theirs, days), ("_dm", "_p")),
    }


def _monthly(data: Dataset, rows: Rows, inside: Chosen) -> dict[str, dict[str, list[float]]]:
    """Coverage of each symbol's calendar months, with its bounds."""
    days = bootstrap.days_of(data.opened_at[rows])
    month = (data.opened_at[rows] * 1000).astype("datetime64[ns]").astype("datetime64[M]")
    found: dict[str, dict[str, list[float]]] = {}
    for i, name in enumerate(data.symbols):
        for one in np.unique(month[data.symbol[rows] == i]):
            part = (data.symbol[rows] == i) & (month == one)
            if part.sum() >= FEWEST_IN_MONTH:
                found.setdefault(name, {})[str(one)] = measures.frequency(inside[part].astype(float), days[part])
    return found


def _daily_ic(actual: Floats, score: Floats, days: bootstrap.Days) -> dict[str, float]:
    """Return the mean of the days' rank correlations over their deviation: the information ratio of the IC, by the day."""
    cuts = np.flatnonzero(np.diff(np.sort(days))) + 1
    parts = np.split(np.argsort(days, kind="stable"), cuts)
    each = np.array([measures.rank_correlation(actual[part], score[part]) for part in parts])
    return {"rank_ic_1h_ir": float(each.mean() / each.std()) if each.std() > 0 else 0.0}


def _har_quantiles(data: Dataset, seen: Rows, rows: Rows, label: str) -> tuple[Floats, Floats]:
    """Empirical quantiles of past returns scaled by a HAR regression of their size, and unscaled: (rows, levels) each."""
    past = data.labels[label][seen]
    design = np.column_stack([np.ones(len(seen)), data.matrix(seen, HAR_SHORT)])
    size = np.log(np.maximum(np.abs(past), 1e-6))
    weights = np.linalg.lstsq(design, size, rcond=None)[0]
    unit = np.exp(design @ weights)
    scaled = np.quantile(past / unit, network.LEVELS)
    now = np.exp(np.column_stack([np.ones(len(rows)), data.matrix(rows, HAR_SHORT)]) @ weights)
    plain = np.quantile(past, network.LEVELS)
    return now[:, None] * scaled, np.tile(plain, (len(rows), 1))
