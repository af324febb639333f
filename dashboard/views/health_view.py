"""How the platform itself fares: every process, every source of this page, what is proved or held, events, dead letters."""

from __future__ import annotations

import time
from html import escape

import streamlit as st

from dashboard import overview_tables, panels
from dashboard.balance_cards import DayConditions, condition_body, condition_tiles, stage_balances
from dashboard.panels import Tile
from dashboard.proof_cards import Proofs, proof_body, proof_tiles
from dashboard.quality.quarantine_card import HeldDays, quarantine_body, quarantine_tiles
from dashboard.sources import Sources
from dashboard.stage_status import Stage

SHOWN = 60


def main(sources: Sources) -> None:
    """Draw the page; it renews itself every two seconds."""
    st.fragment(update, run_every=2.0)(sources)


def update(sources: Sources) -> None:
    """Draw everything that moves."""
    st.html(panels.strip(source_tiles(sources), "sources"))
    found = [seen_from_here(stage, sources) for stage in sources.stages.all()]
    body = overview_tables.stages(found) if found else f'<p class="qs-nothing">{escape(sources.stages.trouble)}</p>'
    st.html(panels.card("Processes", body, "rates over the last 10 s of wall time", "stages"))
    balances = stage_balances(found)
    st.html(panels.card("Balance", balances, "records read, and what became of them, of all symbols held", "balance"))
    st.html(panels.card("Proof of the candles", proof_card(sources.proofs), "the last day, field by field", "proof"))
    body = conditions_card(sources.conditions)
    st.html(panels.card("Days that are not whole", body, "the last week of the market, symbol by symbol", "conditions"))
    aside = "days of symbols that validation or a person left out of reads"
    st.html(panels.card("Quarantine", quarantine_card(sources.held), aside, "quarantine"))
    left, right = st.columns([1, 1], gap="small")
    left.html(panels.card("Operations", panels.event_feed(sources.tail.events()[:SHOWN]), "newest first", "events"))
    dead = sources.tail.dead()[:SHOWN]
    body = overview_tables.dead(dead) if dead else '<p class="qs-nothing">every record could be parsed</p>'
    right.html(panels.card("Dead letters", body, f"{sources.tail.dead_total} in all", "dead"))


def proof_card(proofs: Proofs) -> str:
    """Return the last proof's counts, and what differs if anything does."""
    if proofs.trouble:
        return f'<p class="qs-nothing">{escape(proofs.trouble)}</p>'
    tiles = proof_tiles(proofs.latest, time.time_ns() // 1000) if proofs.latest else []
    return (panels.strip(tiles, "proof") if tiles else "") + proof_body(proofs.latest)


def conditions_card(conditions: DayConditions) -> str:
    """Return how many days are in which condition, and why those that are not whole are not."""
    if conditions.trouble:
        return f'<p class="qs-nothing">{escape(conditions.trouble)}</p>'
    tiles = panels.strip(condition_tiles(conditions.rows), "conditions") if conditions.rows else ""
    return tiles + condition_body(conditions.rows)


def quarantine_card(held: HeldDays) -> str:
    """Return which days are held, and why; what was read last stays while the lake does not answer."""
    trouble = f'<p class="qs-nothing">{escape(held.trouble)}</p>' if held.trouble else ""
    if held.partitions is None and trouble:
        return trouble
    tiles = panels.strip(quarantine_tiles(held.partitions), "quarantine") if held.partitions else ""
    return trouble + tiles + quarantine_body(held.partitions, held.was_filled)


def seen_from_here(stage: Stage, sources: Sources) -> Stage:
    """Return a process's state; the broker and this page have no address to ask, but the page knows of them."""
    if stage.name == "dashboard":
        return Stage(stage.name, "ready")
    if stage.name == "broker":
        return Stage(stage.name, "down" if sources.tail.trouble else "ready", sources.tail.trouble)
    return stage


def source_tiles(sources: Sources) -> list[Tile]:
    """Return one tile for each thing this page reads from, with its trouble in words."""
    named = (
        ("Topics", sources.tail.trouble, sources.tail.word),
        ("Lake", sources.history.trouble, "not answering" if sources.history.trouble else "well"),
        ("Processes", sources.stages.trouble, sources.stages.word),
        ("Model registry", sources.champions.trouble, sources.champions.word),
    )
    return [Tile(name, word, "warn" if trouble else "up", trouble, trouble) for name, trouble, word in named]


main(st.session_state["sources"])
