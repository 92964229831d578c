"""The settings of the server reach uvicorn."""

from gateway.app import create_app
from gateway.server.config import serving_config
from gateway.server.connection import LingeringConnection
from tests.harness import SERVICE, settings


def test_the_settings_reach_the_server() -> None:
    config = serving_config(create_app, settings(**SERVICE, keep_alive=77).server, 9)
    assert config.timeout_keep_alive == 77
    assert config.timeout_graceful_shutdown == 9
    assert config.http is LingeringConnection
