import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config as AlembicConfig
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from about import people
from about.migrate import migrate
from about.revision import ROOT


def test_the_code_names_the_newest_migration():
    alembic = AlembicConfig()
    alembic.set_main_option("script_location", str(ROOT / "migrations"))
    assert ScriptDirectory.from_config(alembic).get_heads() == [people.SCHEMA_REVISION]


def test_migrations_make_the_tables_that_the_code_expects(config):
    engine = people.connect(config)
    migrate(engine)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, people.metadata) == []


def test_a_second_run_changes_nothing(config):
    engine = people.connect(config)
    head = people.SCHEMA_REVISION
    assert migrate(engine) == {"changed": True, "from": None, "to": head, "ahead": False}
    assert migrate(engine) == {"changed": False, "from": head, "to": head, "ahead": False}


def test_a_database_of_newer_code_is_left_alone(config):
    engine = people.connect(config)
    migrate(engine)
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    assert migrate(engine) == {"changed": False, "from": "9999", "to": "9999", "ahead": True}
