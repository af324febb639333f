"""The broker's jars: locked, all or none, and one clear sentence without a network."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from infra.embedded import jars
from quantstream.core.errors import Misconfigured

LOCK = {
    "org.example:one:1.0": hashlib.sha256(b"one").hexdigest(),
    "org.example:two:2.0": hashlib.sha256(b"two").hexdigest(),
}


@pytest.fixture(autouse=True)
def _locked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jars, "read_lock", lambda: LOCK)


def served(content: dict[str, bytes]) -> object:
    """Return a stand-in for Maven Central."""

    def download(coordinate: str, repository: Path) -> Path:
        if coordinate not in content:
            raise ConnectionError("no network")
        path = repository / jars.jar_name(coordinate)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content[coordinate])
        return path

    return download


def test_jars_are_fetched_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jars, "_download", served({"org.example:one:1.0": b"one", "org.example:two:2.0": b"two"}))
    reports: list[tuple[int, int]] = []
    folder = jars.ensure_jars(tmp_path, lambda done, total: reports.append((done, total)))
    assert sorted(path.name for path in folder.iterdir()) == ["one-1.0.jar", "two-2.0.jar"]
    assert reports == [(1, 2), (2, 2)]
    monkeypatch.setattr(jars, "_download", served({}))
    assert jars.ensure_jars(tmp_path) == folder


def test_nothing_is_left_when_one_jar_cannot_be_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jars, "_download", served({"org.example:one:1.0": b"one"}))
    with pytest.raises(
        Misconfigured, match=r"could not fetch two-2\.0\.jar .*connect to the network once and try again"
    ):
        jars.ensure_jars(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_jar_that_is_not_the_locked_one_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jars, "_download", served({"org.example:one:1.0": b"other", "org.example:two:2.0": b"two"}))
    with pytest.raises(Misconfigured, match=r"could not fetch one-1\.0\.jar .*its checksum is not the locked one"):
        jars.ensure_jars(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_incomplete_folder_is_made_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = jars.jar_folder(tmp_path)
    folder.mkdir()
    (folder / "one-1.0.jar").write_bytes(b"one")
    assert not jars.are_complete(tmp_path)
    monkeypatch.setattr(jars, "_download", served({"org.example:one:1.0": b"one", "org.example:two:2.0": b"two"}))
    jars.ensure_jars(tmp_path)
    assert jars.are_complete(tmp_path)


def test_cache_is_where_the_person_says_else_where_the_system_keeps_caches() -> None:
    assert jars.cache_folder({"QUANTSTREAM_CACHE": "/a"}) == Path("/a")
    assert jars.cache_folder({"XDG_CACHE_HOME": "/b", "HOME": "/c"}) == Path("/b/quantstream")
    assert jars.cache_folder({"HOME": "/c"}) == Path("/c/.cache/quantstream")


def test_lock_names_kafka_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    locked = jars.read_lock()
    assert set(jars.ROOTS) <= set(locked)
    assert {len(checksum) for checksum in locked.values()} == {64}
