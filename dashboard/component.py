"""The chart on the page: our `chart.js` over TradingView's lightweight-charts, which the pip package `lwcharts` brings.

lightweight-charts is under the Apache License 2.0; its notice and the TradingView logo stay visible on the chart
(`attributionLogo`), as its authors ask. Nothing is fetched from the net.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

import streamlit as st

from quantstream.core.errors import Misconfigured

LIBRARY = ("vendor", "lightweight-charts.standalone.production.js")
HEIGHT = 560  # pixels
HTML = f'<div class="qs-chart" style="height:{HEIGHT}px"></div>'


def library() -> str:
    """Return lightweight-charts' JavaScript, which sets `window.LightweightCharts`.

    Raises: Misconfigured when the package does not ship it.
    """
    source = files("lwcharts").joinpath(*LIBRARY)
    if not source.is_file():
        raise Misconfigured(
            "the lwcharts package ships no lightweight-charts; install the versions of requirements.txt"
        )
    return source.read_text(encoding="utf-8")


def _register() -> tuple[Any, Any]:
    folder = Path(__file__).parent
    loader = st.components.v2.component("quantstream_chart_library", js=f"{library()}\nexport default function () {{}}")
    chart = st.components.v2.component(
        "quantstream_chart",
        html=HTML,
        css=(folder / "chart.css").read_text(encoding="utf-8"),
        js=(folder / "chart.js").read_text(encoding="utf-8"),
    )
    return loader, chart


def _components() -> tuple[Any, Any]:
    components: tuple[Any, Any] = st.cache_resource(_register, show_spinner=False)()
    return components


def load_library() -> None:
    """Put the library on the page; outside of fragments, so that its 200 kB travel once and not with every update."""
    _components()[0](key="chart_library", height=1)


def draw(data: dict[str, Any], key: str) -> bool:
    """Draw one update and return whether the browser asks for everything afresh."""
    result = _components()[1](key=key, data=data, height=HEIGHT, on_resync_change=lambda: None)
    return bool(result.resync)
