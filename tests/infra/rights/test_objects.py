"""The object store's users on the real server: each does what its code does, and nothing else.

The store is the program of the manifests, with the users of `secrets.sh` and the policies that its pod gives its buckets.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from itertools import product
from pathlib import Path

import pytest

from quantstream.core.errors import Unavailable
from quantstream.lake.schemas import SCHEMAS, candle_rows
from quantstream.lake.store import Lake, Step
from quantstream.lake.upkeep.compaction import compact
from tests.infra.manifests import containers, of_kind, render, space, title
from tests.infra.rights.object_store import ObjectStore, running, users, whats_missing
from tests.unit.quantstream.lake.test_store import candle

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]  # the first time the program is built
LAKE = "s3://quantstream/lake"
EVERYTHING = {"list", "read", "write", "delete"}
GRANTED = {  # role → place → what may be done there; all else is refused
    "sink": {"quantstream/lake": EVERYTHING},
    "tasks": {"quantstream/lake": EVERYTHING},
    "score": {"quantstream/lake": {"list", "read"}},
    "dashboard": {"quantstream/lake": {"list", "read"}},
    "replay": {"quantstream/lake": {"list", "read"}},
    "mlflow": {"quantstream/mlflow": EVERYTHING},
    "backup": {"quantstream/lake": {"list", "read"}, "quantstream/mlflow": {"list", "read"}, "backups": EVERYTHING},
    "restore": {"quantstream/lake": EVERYTHING, "quantstream/mlflow": EVERYTHING, "backups": {"list", "read"}},
    "databases": {"backups": {"list"}, "backups/databases": EVERYTHING},
}
PLACES = ("quantstream/lake", "quantstream/mlflow", "quantstream/elsewhere", "backups", "backups/databases")
READERS = [role for role, places in GRANTED.items() if places.get("quantstream/lake") == {"list", "read"}]
WRITERS = [role for role, places in GRANTED.items() if places.get("quantstream/lake") == EVERYTHING]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    """The object store."""
    if why := whats_missing():
        pytest.skip(why)
    with running(tmp_path_factory.mktemp("objects")) as served:
        yield served


@pytest.fixture(scope="module")
def lake(store: ObjectStore) -> Lake:
    """The lake as the sink has it, one commit in it."""
    found = Lake(LAKE, store.options("sink"))
    for number in range(2):
        step = Step(number - 1 if number else None, number)
        found.append("candles", candle_rows([candle(number)]), {"candles.0": step}, {"candles.0": b"state"})
    return found


def test_every_user_that_is_made_is_known_here() -> None:
    assert users() == {f"{role}{second}" for role in GRANTED for second in ("", "-b")}


def ask(store: ObjectStore, role: str, what: str, place: str) -> int:
    bucket, _, prefix = place.partition("/")
    key = f"{place}/of-{role}"
    if what == "list":
        return store.ask(role, "GET", f"{bucket}?list-type=2" + (f"&prefix={prefix}%2F" if prefix else ""))
    if what == "write":
        return store.ask(role, "PUT", key, "some bytes")
    assert store.ask("root", "PUT", key, "some bytes") == 200
    return store.ask(role, {"read": "GET", "delete": "DELETE"}[what], key)


@pytest.mark.parametrize(("role", "place", "second"), list(product(GRANTED, PLACES, ("", "-b"))))
def test_a_role_may_do_what_is_granted_and_nothing_else(store: ObjectStore, role: str, place: str, second: str) -> None:
    done = {what for what in sorted(EVERYTHING) if ask(store, f"{role}{second}", what, place) < 300}
    assert done == GRANTED[role].get(place, GRANTED[role].get(place.partition("/")[0], set()))


@pytest.mark.parametrize("role", GRANTED)
def test_nobody_but_the_root_key_changes_rights_or_buckets(store: ObjectStore, role: str) -> None:
    whole = (
        '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "s3:*", "Resource": '
    )
    asked = {
        "a policy put": (
            "PUT",
            "quantstream?policy=",
            whole + '["arn:aws:s3:::quantstream", "arn:aws:s3:::quantstream/*"]}]}',
        ),
        "a policy taken away": ("DELETE", "quantstream?policy=", None),
        "a bucket made": ("PUT", f"made-by-{role}", None),
        "a bucket removed": ("DELETE", "backups", None),
        "a user made": (
            "PATCH",
            "create-user",
            "<Account><Access>x</Access><Secret>y</Secret><Role>admin</Role></Account>",
        ),
        "users listed": ("PATCH", "list-users", None),
    }
    assert {what: store.ask(role, *how) for what, how in asked.items()} == dict.fromkeys(asked, 403)


def test_without_a_key_nothing_is_answered(store: ObjectStore, lake: Lake) -> None:
    wrong = store.options("sink") | {"AWS_SECRET_ACCESS_KEY": "guessed"}
    with pytest.raises(Unavailable):
        Lake(LAKE, wrong).table("candles")
    assert lake.version("candles") >= 2


@pytest.mark.parametrize("role", WRITERS)
def test_a_writer_commits_keeps_its_state_and_compacts(store: ObjectStore, lake: Lake, role: str) -> None:
    own = Lake(LAKE, store.options(role))
    before = own.read("candles").num_rows
    for number in range(2):
        step = Step(number - 1 if number else None, number)
        own.append("candles", candle_rows([candle(10 + number)]), {f"of-{role}": step}, {f"of-{role}": b"state"})
    assert own.state("candles", f"of-{role}", 1) == b"state"
    compact(own, "candles", keep=timedelta(days=7))
    assert own.read("candles").num_rows == before + 2


@pytest.mark.parametrize("role", READERS)
def test_a_reader_reads_everything_and_writes_nothing(store: ObjectStore, lake: Lake, role: str) -> None:
    own = Lake(LAKE, store.options(role), may_create=False)
    assert own.candles(["BTCUSDT"]).num_rows >= 2
    assert own.extent("candles")["BTCUSDT"][0] >= 2
    version = lake.version("candles")
    with pytest.raises(Unavailable):
        own.append("candles", candle_rows([candle(99)]))
    assert lake.version("candles") == version


@pytest.mark.parametrize("role", READERS)
def test_a_reader_sees_an_empty_table_where_nobody_has_made_one(store: ObjectStore, role: str, tmp_path: Path) -> None:
    own = Lake(f"{LAKE}/of-nobody", store.options(role), may_create=False)
    assert [own.read(name).num_rows for name in SCHEMAS] == [0] * len(SCHEMAS)


def test_the_root_key_is_in_the_stores_pod_alone() -> None:
    for system in ("local", "prod", "prod-replay"):
        holders = set()
        for one in of_kind(render(system), "Deployment", "StatefulSet", "Job", "CronJob", "Pod"):
            for each in (variable for container in containers(one) for variable in container.get("env", ())):
                if each.get("valueFrom", {}).get("secretKeyRef", {}).get("name") == "objects":
                    holders.add((space(one), title(one)))
        assert holders == {("quantstream", "StatefulSet objects")}
