"""The models in service: version, alias, since when, how they were judged, and why they were let in."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

import streamlit as st

from dashboard import formats, model_troubles, overview_tables, panels
from dashboard.sources import Sources

if TYPE_CHECKING:
    from ml.serving.registry import Card


def main(sources: Sources) -> None:
    """Draw the page; it renews itself every few seconds."""
    st.fragment(update, run_every=5.0)(sources)


def update(sources: Sources) -> None:
    """Draw every model that carries an alias."""
    trouble, models = sources.champions.trouble, sources.champions.all()
    if trouble:
        note = " What it said last is shown." if models else ""
        st.html(panels.troubles([f"Models: {trouble}.{note}"]))
    elif not models:
        st.html('<p class="qs-nothing">No model has earned an alias yet; the first training run makes the first.</p>')
    if ends := sources.calendar.sentences:
        st.html(panels.troubles(ends))
    if refused := model_troubles.refused(models, sources.tail.events()):
        st.html(panels.troubles(refused))
    for left, right in zip(models[::2], [*models[1::2], None], strict=False):
        columns = st.columns(2, gap="small")
        for column, model in zip(columns, (left, right), strict=True):
            if model is not None:
                column.html(model_card(model))


def model_card(model: Card) -> str:
    """Return one model's card."""
    reasons = "".join(f"<li>{escape(reason)}</li>" for reason in model.reasons)
    why = f'<ul class="qs-reasons">{reasons}</ul>' if reasons else ""
    learned = f"features {model.feature_hash} · learned from lake version {model.lake_version}"
    origin = f'<p class="qs-origin">{escape(learned)}</p>'
    aside = f"since {formats.stamp(model.since)} UTC"
    title = f"{model.name} v{model.version} · {model.alias}"
    return panels.card(title, why + origin + overview_tables.metrics(model.metrics), aside, model.name)


main(st.session_state["sources"])
