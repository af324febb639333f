"""The data docs: what was asked of each symbol's rows, which days failed, and the validation library's own pages of that."""

from __future__ import annotations

from html import escape

import streamlit as st

from dashboard import panels
from dashboard.quality.data_docs import INDEX
from dashboard.sources import Sources
from quantstream.core.errors import Unavailable


def main(sources: Sources) -> None:
    """Draw the page that the address names."""
    name = str(st.query_params.get("page", INDEX))
    try:
        body = sources.docs.body(name)
    except Unavailable as error:
        st.html(panels.troubles([f"Data docs: {error}."]))
        if name != INDEX:
            st.html('<p><a href="data_docs" target="_self">all tables and symbols</a></p>')
        return
    st.html(f'<div class="qs-docs" data-testid="data-doc">{body}</div>')
    st.html(f'<p class="qs-origin">{escape(sources.docs.where(name))}</p>')


main(st.session_state["sources"])
