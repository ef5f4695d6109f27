"""A fleet in memory."""

import pytest

from tests.support.fleet_world import FleetWorld


@pytest.fixture
def world(tmp_path):
    return FleetWorld(tmp_path)
