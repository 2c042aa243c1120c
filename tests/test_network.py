"""The tests' own guard: nothing that they run can reach for a model hub unnoticed."""

import os
import socket

import pytest


@pytest.mark.parametrize("method", ["connect", "connect_ex"])
def test_connections_to_other_machines_are_refused(method: str) -> None:
    with socket.socket() as connection, pytest.raises(AssertionError, match=r"reached for the network: 192\.0\.2\.1"):
        getattr(connection, method)(("192.0.2.1", 443))  # an address that belongs to nobody


def test_this_machine_can_be_reached() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()):
        pass


def test_the_hub_is_off_for_processes_too() -> None:
    assert os.environ["HF_HUB_OFFLINE"] == "1"
