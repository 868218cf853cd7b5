"""A Redis namespace of one test."""

import pytest

from reclab.stores.kv import KV


@pytest.fixture
def kv():
    store = KV(namespace="test-dualrec")
    yield store
    for name in store.names():
        store.delete(name)
    store.close()
