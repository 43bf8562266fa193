"""Fixtures of the peers: everything pinned is installed once, and one server is shared."""

from __future__ import annotations

import pytest
from install import Peers, UnreachableError
from server_support import http_server

PEERS = Peers()
collect_ignore_glob = ["*_client.py"]  # they run in the peers' environments, not in this one


class Installed:
    """The peers; a registry that cannot be reached skips the test that needs it."""

    def __getattr__(self, name):
        return self._or_skip(lambda: getattr(PEERS, name))

    def python(self, name):
        return self._or_skip(lambda: PEERS.python(name))

    def program(self, name, program):
        return self.python(name).with_name(program)

    def _or_skip(self, get):
        try:
            return get()
        except UnreachableError as reason:
            pytest.skip(f"not installed: {reason}")


@pytest.fixture(scope="session")
def peers():
    PEERS.start()
    return Installed()


@pytest.fixture(scope="session")
def base():
    """Address of a server over HTTP that all peers share."""
    with http_server() as address:
        yield address
