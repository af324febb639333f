"""Makes MLflow's users beside its administrator: a reader and a trainer, two logins each, with the passwords given now.

It also makes the registered models, without versions: of one that is not there MLflow tells anybody but its administrator
"Permission denied", and a stage could not tell a registry that is still empty from one that refuses it.

MLflow's own commands make no users, and its REST interface needs a server that runs. So this works on the same store as the
server does, before it starts, and may be run again: a changed password is taken over.
"""

from __future__ import annotations

import os

from mlflow import MlflowClient
from mlflow.server.auth.config import read_auth_config
from mlflow.server.auth.sqlalchemy_store import SqlAlchemyStore

EVERY = "*"
RESOURCES = ("experiment", "registered_model")
USERS = {  # what each may do with every run, model, version and alias, whoever made it
    "reader": "READ",
    "trainer": "MANAGE",
}
SECOND = "-b"  # while passwords are rotated the old login and the new one are good


def main() -> None:
    """Bring users and models to what the variables say."""
    make_users()
    make_models()


def make_users() -> None:
    """Make or change the users, and what each is granted."""
    store = SqlAlchemyStore()
    store.init_db(read_auth_config().database_uri)
    logins = {f"{name}{second}": permission for name, permission in USERS.items() for second in ("", SECOND)}
    for name, permission in logins.items():
        password = os.environ[f"{name.upper().replace('-', '_')}_PASSWORD"]
        if store.has_user(name):
            store.update_user(name, password=password, is_admin=False)
        else:
            store.create_user(name, password)
        for resource in RESOURCES:
            store.grant_user_permission(name, resource, EVERY, permission)
        print(f"the user {name} is there: {permission}")


def make_models() -> None:
    """Make the registered models that are not there."""
    registry = MlflowClient(os.environ["MLFLOW_BACKEND_STORE_URI"], os.environ["MLFLOW_BACKEND_STORE_URI"])
    there = {model.name for model in registry.search_registered_models()}
    for name in os.environ["MODELS"].split(","):
        if name not in there:
            registry.create_registered_model(name)
        print(f"the model {name} is there")


if __name__ == "__main__":
    main()
