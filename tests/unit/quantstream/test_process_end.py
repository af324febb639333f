"""The end of a process: nothing that was to be done is left out, and threads of libraries do not abort it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

READS_AHEAD = """
import pyarrow.dataset
from pyarrow.fs import FSSpecHandler, PyFileSystem
from fsspec.implementations.local import LocalFileSystem
import pathlib, sys, time
class Slow(LocalFileSystem):
    def open(self, *words, **more):
        time.sleep(0.3)
        return super().open(*words, **more)
def main():
    files = [str(path) for path in sorted(pathlib.Path(sys.argv[1]).glob("*.parquet"))]
    data = pyarrow.dataset.dataset(files, filesystem=PyFileSystem(FSSpecHandler(Slow())), format="parquet")
    print(next(iter(data.to_batches(fragment_readahead=16))).num_rows)
    return 3
"""


def run(script: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", script, *words], capture_output=True, text=True, check=False, timeout=120
    )


# With `sys.exit(main())` instead this process ends with 134, "terminate called without an active exception".
def test_threads_that_still_read_do_not_abort_a_process_that_is_done(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    for number in range(20):
        pq.write_table(pa.table({"a": range(20_000)}), tmp_path / f"{number}.parquet", row_group_size=1000)
    ended = run(READS_AHEAD + "from quantstream.process_end import end_with\nend_with(main)", str(tmp_path))
    assert (ended.returncode, ended.stdout, ended.stderr) == (3, "1000\n", "")


AT_THE_END = """
import atexit, sys, threading, time
from concurrent.futures import ThreadPoolExecutor
from quantstream.process_end import end_with
atexit.register(lambda: print("registered"))
def later():
    time.sleep(0.2)
    print("waited for")
def main():
    threading.Thread(target=later).start()
    threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
    pool = ThreadPoolExecutor(1)  # whose thread is no daemon, and waits for work
    pool.submit(int).result()
    print("unflushed", end=" ")
    {}
end_with(main)
"""


@pytest.mark.parametrize(
    ("how", "code", "said"),
    [
        ("return 3", 3, ""),
        ("return None", 0, ""),
        ("sys.exit(2)", 2, ""),
        ("raise KeyboardInterrupt", 130, ""),
        ("sys.exit('no such thing')", 1, "no such thing\n"),
    ],
)
def test_what_was_to_be_done_is_done(how: str, code: int, said: str) -> None:
    ended = run(AT_THE_END.format(how))
    assert (ended.returncode, ended.stdout, ended.stderr) == (code, "unflushed waited for\nregistered\n", said)


def test_a_defect_is_shown_as_ever() -> None:
    ended = run(AT_THE_END.format("raise RuntimeError('a defect')"))
    assert ended.returncode == 1
    assert "Traceback" in ended.stderr
    assert "a defect" in ended.stderr
