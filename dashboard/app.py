"""The page's entry point: settings, sources shared by all browsers, and the pages to choose from.

`streamlit run dashboard/app.py`
"""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from dashboard.sources import Sources, connect
from quantstream.core.errors import Misconfigured
from quantstream.observability.logs import set_up_logs
from quantstream.settings_loader import load_settings

FOLDER = Path(__file__).parent


def open_sources() -> Sources:
    """Read the settings, connect, and begin to follow the topics: once in a process.

    Raises: Misconfigured.
    """
    settings = load_settings()
    set_up_logs("dashboard", settings.log_format)
    sources = connect(settings)
    sources.start()
    return sources


def main() -> None:
    """Draw the chosen page."""
    st.set_page_config(page_title="QuantStream", page_icon=str(FOLDER / "icon.svg"), layout="wide")
    st.html(f"<style>{(FOLDER / 'style.css').read_text(encoding='utf-8')}</style>")
    try:
        sources: Sources = st.cache_resource(open_sources, show_spinner=False)()
    except Misconfigured as error:
        st.error(f"{error}. Fix it and start the dashboard again.")
        st.stop()
    st.session_state["sources"] = sources
    pages = [
        st.Page(FOLDER / "views" / "market_view.py", title="Market", icon=":material/candlestick_chart:", default=True),
        st.Page(
            FOLDER / "views" / "overview_view.py",
            title="Risk & anomalies",
            icon=":material/radar:",
            url_path="overview",
        ),
        st.Page(FOLDER / "views" / "models_view.py", title="Models", icon=":material/neurology:", url_path="models"),
        st.Page(
            FOLDER / "views" / "health_view.py", title="Health", icon=":material/monitor_heart:", url_path="health"
        ),
        st.Page(
            FOLDER / "views" / "data_docs_view.py",
            title="Data docs",
            icon=":material/fact_check:",
            url_path="data_docs",
        ),
    ]
    st.navigation(pages, position="top").run()


main()
