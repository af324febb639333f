"""Makes MLflow's users beside its administrator: a reader and a trainer, each with the password that its Secret holds now.

MLflow's own commands make no users, and its REST interface needs a server that runs. So this works on the same store as the
server does, before it starts, and may be run again: a changed password is taken over.
"""

from __future__ import annotations

import os

from mlflow.server.auth.config import read_auth_config
from mlflow.server.auth.sqlalchemy_store import SqlAlchemyStore

EVERY = "*"
MANAGED = ("experiment", "registered_model")  # what a training writes: runs, models, versions and aliases


def main() -> None:
    """Bring the users to what the variables say."""
    store = SqlAlchemyStore()
    store.init_db(read_auth_config().database_uri)
    for name, password in (("reader", os.environ["READER_PASSWORD"]), ("trainer", os.environ["TRAINER_PASSWORD"])):
        if store.has_user(name):
            store.update_user(name, password=password, is_admin=False)
        else:
            store.create_user(name, password)
        print(f"the user {name} is there")
    for resource in MANAGED:  # those that others made, too
        store.grant_user_permission("trainer", resource, EVERY, "MANAGE")


if __name__ == "__main__":
    main()
