"""Champions asked over MLflow's REST, as its server answers."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlparse

import pytest

from infra.cli.champions import Champion, champions
from infra.embedded.free_ports import free_port
from quantstream.core.errors import Unavailable

SERVING = {
    "quantstream-signal": Champion("3", "432c"),
    "quantstream-risk": Champion("12", ""),  # of a time without the tag
}


class _Registry(BaseHTTPRequestHandler):
    """Answers as MLflow 3.17 does: a version, no such alias (400), no such model (404)."""

    def do_GET(self) -> None:
        asked = parse_qs(urlparse(self.path).query)
        name = asked["name"][0]
        if name == "quantstream-anomaly":
            self._answer(400, {"error_code": "INVALID_PARAMETER_VALUE", "message": "alias champion not found."})
        elif name in SERVING and asked["alias"] == ["champion"]:
            champion = SERVING[name]
            tags = [{"key": "lake_version", "value": "7"}, {"key": "feature_hash", "value": champion.feature_hash}]
            version = {"name": name, "version": champion.version} | ({"tags": tags} if champion.feature_hash else {})
            self._answer(200, {"model_version": version})
        else:
            self._answer(404, {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "not found"})

    def _answer(self, status: int, fields: dict[str, object]) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(fields).encode())

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


class _Stranger(_Registry):
    def do_GET(self) -> None:
        self._answer(500, {"message": "not MLflow"})


@pytest.fixture
def address(request: pytest.FixtureRequest) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), request.param)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("address", [_Registry], indirect=True)
def test_models_with_a_champion_are_named_with_its_version_and_features(address: str) -> None:
    assert champions(address) == SERVING


@pytest.mark.parametrize("address", [_Stranger], indirect=True)
def test_strange_answer_is_not_taken_for_no_champion(address: str) -> None:
    with pytest.raises(Unavailable, match="answers HTTP 500 for quantstream-forecast"):
        champions(address)


def test_registry_out_of_reach_is_unavailable() -> None:
    with pytest.raises(Unavailable, match="MLflow does not answer at"):
        champions(f"http://127.0.0.1:{free_port()}")
