"""A host in memory that builds boxes."""

from dataclasses import replace

import pytest

from devvm.adapters.image.box_store import FolderBoxStore
from tests.support.world import World
from tests.unit.operations.box.building import Ansible, Tools


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path)
    made.store = FolderBoxStore(made.state)
    made.ansible = Ansible()
    made.services = replace(made.services, boxes=made.store, provisioner=made.ansible)
    made.tools = Tools(made.store, made.state)
    return made
