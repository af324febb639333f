"""Every JSON value there can be: what any answer, frame or file may hold in the place of what was promised."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

NUMBERS = st.integers() | st.integers(10**30, 10**40) | st.floats()
LEAVES = (
    st.none()
    | st.booleans()
    | NUMBERS
    | st.text(max_size=20)
    | st.sampled_from(["0.5", "1723161300000", "12345678901"])
)


def values(names: st.SearchStrategy[str] | None = None) -> st.SearchStrategy[Any]:
    """Return JSON values, objects and lists inside one another; `names` are those that the reader looks for."""
    keys = st.text(max_size=8) if names is None else names | st.text(max_size=8)
    return st.recursive(
        LEAVES, lambda inner: st.lists(inner, max_size=13) | st.dictionaries(keys, inner, max_size=6), max_leaves=20
    )
