"""Files of positions: three shapes of the same, and a sentence for each that makes no sense."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from ml.value_at_risk.positions import LARGEST, Position, read_positions
from quantstream.core.errors import Misconfigured

HELD = [Position("BTCUSDT", Decimal("0.5")), Position("ETHUSDT", Decimal("-4.25"))]
SAME = {
    "csv": "symbol,quantity\nBTCUSDT,0.5\nETHUSDT,-4.25\n",
    "csv of a spreadsheet": "\ufeffQuantity,Symbol\r\n0.5, btcusdt\r\n\r\n-4.25,ETHUSDT\r\n",
    "list": '[{"symbol": "BTCUSDT", "quantity": "0.5"}, {"quantity": -4.25, "symbol": "ETHUSDT"}]',
    "object": ' {"BTCUSDT": 0.5, "ETHUSDT": -4.25}',
}
NONSENSE = {
    "": "is empty",
    " \n \n": "is empty",
    "symbol,quantity\n": "holds no position",
    "[]": "holds no position",
    "{}": "holds no position",
    "BTCUSDT,0.5\n": "begins with 'BTCUSDT,0.5' instead of symbol,quantity",
    "symbol;quantity\nBTCUSDT;1\n": "begins with 'symbol;quantity' instead of symbol,quantity",
    "symbol,quantity,price\nBTCUSDT,1,60000\n": "begins with 'symbol,quantity,price' instead of symbol,quantity",
    "symbol,symbol\nBTCUSDT,1\n": "instead of symbol,quantity",
    "symbol,quantity\nBTCUSDT\n": "line 2 has 1 cells instead of 2",
    "symbol,quantity\nBTCUSDT,1,000.5\n": "line 2 has 3 cells instead of 2",
    "symbol,quantity\nBTCUSDT,\n": "line 2: '' is no quantity of BTCUSDT",
    "symbol,quantity\nBTCUSDT,NaN\n": "line 2: 'NaN' is no quantity of BTCUSDT",
    "symbol,quantity\nBTCUSDT,-inf\n": "line 2: '-inf' is no quantity of BTCUSDT",
    "symbol,quantity\nBTCUSDT,1e30\n": "1e30 of BTCUSDT are more than there are",
    "symbol,quantity\nBTCUSDT,1_000\n": "line 2: '1_000' is no quantity of BTCUSDT",
    "symbol,quantity\nBTCUSDT,half\n": "line 2: 'half' is no quantity of BTCUSDT",
    "symbol,quantity\nBTC/USDT,1\n": "line 2: 'BTC/USDT' is not a symbol",
    "symbol,quantity\n,1\n": "line 2: '' is not a symbol",
    "symbol,quantity\nBTCUSDT,1\nbtcusdt,2\n": "names BTCUSDT more than once",
    '{"BTCUSDT": 1, "BTCUSDT": 2}': "names BTCUSDT more than once",
    '{"BTCUSDT": NaN}': "holds NaN, which is no quantity",
    '{"BTCUSDT": -Infinity}': "holds -Infinity, which is no quantity",
    '{"BTCUSDT": true}': "the quantity of BTCUSDT is no number",
    '{"BTCUSDT": null}': "the quantity of BTCUSDT is no number",
    '{"BTCUSDT": {"quantity": 1}}': "the quantity of BTCUSDT is no number",
    '{"symbol": "BTCUSDT", "quantity": 1}': "position 'symbol': 'BTCUSDT' is no quantity of SYMBOL",
    '[{"symbol": 5, "quantity": 1}]': "position 1: '5' is not a symbol",
    '[{"symbol": "BTCUSDT"}]': "position 1 has not symbol and quantity",
    '[{"symbol": "BTCUSDT", "quantity": 1, "quantity": 2}]': "position 1 has not symbol and quantity, each once",
    "[1, 2]": "position 1 has not symbol and quantity",
    '{"BTCUSDT": 1': "is not JSON",
    "[" * 100_000: "is not JSON",
    "symbol,quantity\n"
    + "".join(f"S{number}USDT,1\n" for number in range(2_001)): "holds 2,001 positions, more than 2,000",
    "symbol,quantity\n" + "#" * LARGEST: "is larger than 1 MB",
}


@pytest.mark.parametrize("shape", SAME)
def test_three_shapes_say_the_same(tmp_path: Path, shape: str) -> None:
    file = tmp_path / "positions"
    file.write_text(SAME[shape], encoding="utf-8")
    assert read_positions(file) == HELD


@pytest.mark.parametrize("text", NONSENSE, ids=range(len(NONSENSE)))
def test_nonsense_is_refused_in_one_sentence_that_names_the_file(tmp_path: Path, text: str) -> None:
    file = tmp_path / "positions.csv"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(Misconfigured) as caught:
        read_positions(file)
    assert NONSENSE[text] in str(caught.value)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


def test_what_is_no_file_of_text_is_said(tmp_path: Path) -> None:
    (tmp_path / "book.xlsx").write_bytes(b"PK\x03\x04\xff\xfe\x00")
    for name, said in (
        ("book.xlsx", "is not text in UTF-8"),
        ("gone.csv", "cannot be read: No such file"),
        (".", "cannot be read"),
    ):
        with pytest.raises(Misconfigured, match=said):
            read_positions(tmp_path / name)


def test_a_decimal_stays_as_exact_as_it_was_written(tmp_path: Path) -> None:
    file = tmp_path / "positions.json"
    file.write_text('{"BTCUSDT": 0.100000000000000005}')
    assert read_positions(file)[0].quantity == Decimal("0.100000000000000005")
