"""The book's card: its figures with their age, what is wrong with the file, and nothing that came from outside as markup."""

from __future__ import annotations

from pathlib import Path

import pytest

from dashboard.book.book_card import Book, book_aside, book_body
from quantstream import features
from quantstream.core.errors import Misconfigured, QuantStreamError, Unavailable
from quantstream.core.time import HOUR, MINUTE
from quantstream.lake.store import Lake
from tests.unit.ml import markets

FRAMES = {"BTCUSDT": markets.candles(36 * 288, 51), "ETHUSDT": markets.candles(36 * 288, 52)}
END = int(features.opened_at_us(FRAMES["BTCUSDT"])[-1]) + features.STEP_US


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    lake = Lake(str(tmp_path_factory.mktemp("lake")))
    for symbol, frame in FRAMES.items():
        markets.write_candles(lake, symbol, frame)
    return lake


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "positions.csv"
    file.write_text("symbol,quantity\nBTCUSDT,2\nETHUSDT,-1\n")
    return file


def turned(book: Book) -> Book:
    """What the page's thread does."""
    try:
        book.turn()
    except QuantStreamError as error:
        book.trouble = str(error)
    book.has_turned = True
    return book


def test_without_a_file_it_says_how_to_name_one(lake: Lake) -> None:
    book = turned(Book(lake, ""))
    assert "QUANTSTREAM_POSITIONS" in book_body(book, END)
    assert 'qs-trouble"' not in book_body(book, END)


def test_a_file_that_is_not_there_yet_is_no_trouble(lake: Lake, tmp_path: Path) -> None:
    body = book_body(turned(Book(lake, str(tmp_path / "positions.csv"))), END)
    assert "there are no positions at" in body
    assert 'data-testid="trouble"' not in body


def test_the_book_has_tiles_a_line_for_each_holding_and_its_age(lake: Lake, file: Path) -> None:
    book = turned(Book(lake, str(file)))
    body = book_body(book, END + 4 * MINUTE)
    assert body.count('data-testid="row"') == 2 * 3
    assert 'data-testid="tile-var-99---next-day"' in body
    assert "Part of the tail" in body
    assert 'data-testid="trouble"' not in body
    assert book_aside(book, END + 4 * MINUTE) == "told at the close of 2024-02-06 00:00 UTC, 4m 00s ago"
    assert book_aside(book, 0) == "told at the close of 2024-02-06 00:00 UTC"


def test_figures_that_are_old_are_said_to_be(lake: Lake, file: Path) -> None:
    assert "the figures are old: 3h 00m of market time have passed" in book_body(
        turned(Book(lake, str(file))), END + 3 * HOUR
    )


def test_a_file_that_becomes_wrong_takes_the_figures_away_and_says_why(lake: Lake, file: Path) -> None:
    book = turned(Book(lake, str(file)))
    file.write_text("symbol,quantity\nBTCUSDT,<b>NaN</b>\n")
    with pytest.raises(Misconfigured):
        book.turn()
    body = book_body(turned(book), END)
    assert "is no quantity of BTCUSDT" in body
    assert "<b>NaN" not in body
    assert 'data-testid="row"' not in body
    file.write_text("symbol,quantity\nBTCUSDT,2\n")
    assert 'data-testid="row"' in book_body(turned(book), END)


def test_what_has_no_figure_is_named_beside_what_has(lake: Lake, file: Path) -> None:
    file.write_text("symbol,quantity\nBTCUSDT,2\nFOOUSDT,1\n")
    body = book_body(turned(Book(lake, str(file))), END)
    assert "FOOUSDT: the lake has no candles of it" in body
    assert "no figure for the book" in body
    assert body.count('data-testid="row"') == 2


def test_a_lake_that_does_not_answer_leaves_what_was_told_last(
    lake: Lake, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    book = turned(Book(lake, str(file)))
    monkeypatch.setattr(Lake, "has", lambda *_: (_ for _ in ()).throw(Unavailable("the store is away")))
    body = book_body(turned(book), END)
    assert "the store is away" in body
    assert body.count('data-testid="row"') == 2 * 3
