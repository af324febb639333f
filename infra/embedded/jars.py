"""The broker's jars: fetched once from Maven Central by jgo, each held to the checksum that `jars.lock` names.

Java needs no installation (pip brings a runtime), but Kafka itself is not on PyPI. The lock keeps the fetch reproducible and
needs no dependency resolution at run time; `python -m infra.embedded.jars --lock` writes it anew for another Kafka version.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from quantstream.core.errors import Misconfigured, QuantStreamError

KAFKA_VERSION = "4.4.0"
ROOTS = (f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}", "org.slf4j:slf4j-simple:1.7.36")
LOCK = Path(__file__).with_name("jars.lock")
THREADS = 6  # downloads at once: enough to hide latency, few enough to be polite
TRIES = 3

Report = Callable[[int, int], None]  # jars done, jars in all


def cache_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Return where things that are fetched once are kept, outside any state folder."""
    if folder := environ.get("QUANTSTREAM_CACHE"):
        return Path(folder).expanduser().absolute()
    base = environ.get("XDG_CACHE_HOME") or Path(environ.get("HOME", str(Path.home()))) / ".cache"
    return Path(base).absolute() / "quantstream"


def read_lock(path: Path = LOCK) -> dict[str, str]:
    """Return the SHA-256 of each locked `group:artifact:version`."""
    rows = [line.split() for line in path.read_text().splitlines() if line and not line.startswith("#")]
    return {coordinate: checksum for checksum, coordinate in rows}


def jar_folder(cache: Path) -> Path:
    """Return where the jars are, or will be: the folder exists only when it is complete."""
    return cache / f"kafka-{KAFKA_VERSION}"


def are_complete(cache: Path) -> bool:
    """Tell whether every locked jar is in the cache."""
    folder = jar_folder(cache)
    return all((folder / jar_name(coordinate)).is_file() for coordinate in read_lock())


def jar_name(coordinate: str) -> str:
    """Return the file name of `group:artifact:version`."""
    _, artifact, version = coordinate.split(":")
    return f"{artifact}-{version}.jar"


def ensure_jars(cache: Path, report: Report | None = None) -> Path:
    """Return the folder of the broker's jars, fetching them when they are not there; all of them or none.

    Raises: Misconfigured when Maven Central cannot be reached or sent something else than what is locked.
    """
    folder = jar_folder(cache)
    if are_complete(cache):
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="jars-", dir=cache) as temporary:
        fetched = Path(temporary) / "complete"
        fetched.mkdir()
        _fetch(read_lock(), Path(temporary) / "repository", fetched, report)
        shutil.rmtree(folder, ignore_errors=True)  # an incomplete one, from outside
        try:
            fetched.rename(folder)
        except OSError:
            if not are_complete(cache):  # else someone else was faster
                raise
    return folder


def _fetch(lock: Mapping[str, str], repository: Path, folder: Path, report: Report | None) -> None:
    done = 0
    with ThreadPoolExecutor(THREADS) as pool:
        pending = [pool.submit(_fetch_one, coordinate, lock[coordinate], repository, folder) for coordinate in lock]
        try:
            for future in pending:
                future.result()
                done += 1
                if report:
                    report(done, len(lock))
        except QuantStreamError:
            pool.shutdown(cancel_futures=True)
            raise


def _fetch_one(coordinate: str, checksum: str, repository: Path, folder: Path) -> None:
    reason = ""
    for _ in range(TRIES):
        try:
            path = _download(coordinate, repository)
        except (OSError, RuntimeError) as error:  # requests' errors are OSErrors; jgo raises RuntimeError for a 404
            reason = type(error).__name__
            continue
        if hashlib.sha256(path.read_bytes()).hexdigest() == checksum:
            path.rename(folder / jar_name(coordinate))
            return
        path.unlink()
        reason = "its checksum is not the locked one"
    raise Misconfigured(
        f"could not fetch {jar_name(coordinate)} of Kafka {KAFKA_VERSION} from Maven Central ({reason});"
        " connect to the network once and try again, or set QUANTSTREAM_CACHE to a folder where another machine has fetched them"
    )


def _download(coordinate: str, repository: Path) -> Path:
    from jgo.maven import MavenContext

    group, artifact, version = coordinate.split(":")
    context = MavenContext(repo_cache=repository)
    jar = context.project(group, artifact).at_version(version).artifact()
    if jar.cached_path is not None:
        jar.cached_path.unlink(missing_ok=True)  # what an interrupted try left
    path: Path = jar.resolve()
    return path


def fetch_jars(cache: Path) -> Path:
    """Fetch the broker's jars with a bar, unless they are there.

    Raises: Misconfigured.
    """
    if are_complete(cache):
        return jar_folder(cache)
    from infra.embedded.progress import bars  # what draws them is not in every image

    with bars() as display:
        task = display.add_task(f"Kafka {KAFKA_VERSION} jars", total=None)
        return ensure_jars(cache, lambda done, total: display.update(task, completed=done, total=total))


def lock_jars(path: Path = LOCK) -> int:
    """Resolve Kafka's dependencies, fetch them and write the lock; return how many jars it names."""
    import jgo

    artifacts = jgo.resolve("+".join(ROOTS))
    rows = {}
    for artifact in artifacts:
        coordinate = f"{artifact.groupId}:{artifact.artifactId}:{artifact.version}"
        rows[coordinate] = hashlib.sha256(artifact.resolve().read_bytes()).hexdigest()
    lines = [f"{rows[coordinate]}  {coordinate}" for coordinate in sorted(rows)]
    path.write_text("# SHA-256 and Maven coordinate of each jar; written by: python -m infra.embedded.jars --lock\n")
    with path.open("a") as file:
        file.write("\n".join(lines) + "\n")
    return len(rows)


def main(argv: list[str]) -> int:
    """Fetch the jars (for `make jars` and images), or write the lock."""
    parser = argparse.ArgumentParser(description="fetch the broker's jars")
    parser.add_argument("--lock", action="store_true", help="resolve anew and write jars.lock")
    if parser.parse_args(argv).lock:
        sys.stdout.write(f"locked {lock_jars()} jars\n")
        return 0
    try:
        fetch_jars(cache_folder())
    except Misconfigured as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
