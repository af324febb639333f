"""A file is the old or the new one, whatever happens while it is written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from quantstream.files import PRIVATE, replacing, write_whole


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_replaced_in_one_step_and_nothing_stays_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    write_whole(path, b"old")
    with replacing(path) as draft:
        draft.write_bytes(b"new")
        assert path.read_bytes() == b"old"
    assert (path.read_bytes(), names(tmp_path)) == (b"new", ["state.json"])


def test_a_write_that_fails_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    write_whole(path, b"old")
    with pytest.raises(KeyboardInterrupt), replacing(path) as draft:
        draft.write_bytes(b"ne")
        raise KeyboardInterrupt
    assert (path.read_bytes(), names(tmp_path)) == (b"old", ["state.json"])


def test_what_is_private_was_never_anything_else(tmp_path: Path) -> None:
    path = tmp_path / "secrets"
    path.write_bytes(b"open to all")
    path.chmod(0o644)
    orphan = tmp_path / f".secrets.{os.getpid()}.part"  # of one that was killed
    orphan.write_bytes(b"half")
    orphan.chmod(0o644)
    write_whole(path, b"mine", PRIVATE)
    assert (path.read_bytes(), path.stat().st_mode & 0o777, names(tmp_path)) == (b"mine", 0o600, ["secrets"])
