"""db: out of a database and into it; an import that fails leaves what was there."""

import stat

import pytest

from devvm.domain.errors import ExistsError, LockedError, NotFoundError, OperationError, UsageError
from devvm.operations.guest import database as guest
from devvm.operations.transaction import transaction
from devvm.operations.vm import dumps, lifecycle
from devvm.stack.description import Description
from tests.support.world import Killed, World

PRODUCTION = "Ann Lee\nBob Roe\n"
SANITIZED = "Person 1\nBob Roe\n"
TWO = {
    "databases": [
        {
            "name": name,
            "package": "pkg",
            **{verb: {"argv": [name]} for verb in ("export", "import")},
        }
        for name in ("Shop", "Wiki")
    ]
}


@pytest.fixture
def dev1(tmp_path):
    world = World(tmp_path)
    world.create()
    world.shell.database = "what was there\n"
    world.dump = tmp_path / "dump.sql"
    world.dump.write_text(PRODUCTION)
    world.shell.asked.clear()
    return world


def export(world, to, wanted=None):
    return dumps.export(world.services, "dev1", wanted, to, world.run("db export dev1"))


def import_from(world, **more):
    run = world.run("db import dev1")
    return dumps.import_from(world.services, "dev1", None, world.dump, run, **more)


def asked(world):
    """What was run in the VM, without how."""
    return [
        " ".join(argv[argv.index("--") + 3 :] if "--" in argv else argv[1:])
        for _, argv in world.shell.asked
    ]


def with_stack(world, monkeypatch, **keys):
    described = Description.model_validate(keys)
    monkeypatch.setattr(type(world.services.stack), "description", lambda self: described)


def saved(world):
    return [*world.machine().folder.glob("*-before.sql.gz")]


def test_an_export_is_a_new_file_of_its_owner(dev1, tmp_path):
    done = export(dev1, tmp_path / "out.sql")
    assert (tmp_path / "out.sql").read_text() == "what was there\n"
    assert stat.S_IMODE((tmp_path / "out.sql").stat().st_mode) == 0o600
    assert (done.database, done.size_bytes) == ("MariaDB", len("what was there\n"))
    (command,) = dev1.shell.asked
    assert command == (
        "dev1-vagrant",
        ["sudo", "-H", "-u", "about", "--", "env", "--chdir=/tmp", "mariadb-dump",
         "--no-defaults", "--single-transaction", "--add-drop-database", "--databases", "about"],
    )  # fmt: skip
    with pytest.raises(ExistsError, match="exists already"):
        export(dev1, tmp_path / "out.sql")


@pytest.mark.parametrize("failure", [OperationError("broken"), KeyboardInterrupt(), Killed()])
def test_an_export_that_fails_leaves_no_file(dev1, tmp_path, failure):
    dev1.host.fail_at, dev1.host.failure = "transfer", failure
    before = sorted(tmp_path.iterdir())
    with pytest.raises(type(failure)):
        export(dev1, tmp_path / "out.sql")
    assert sorted(tmp_path.iterdir()) == before


def test_an_import_takes_personal_data_out_before_the_applications_start(dev1):
    done = import_from(dev1)
    assert dev1.shell.database == SANITIZED
    assert (done.database, done.sanitized) == ("MariaDB", True)
    assert done.saved.read_text() == "what was there\n"
    assert stat.S_IMODE(done.saved.stat().st_mode) == 0o600
    assert [what.split(" --")[0] for what in asked(dev1)] == [
        "mariadb-dump", "systemctl stop about.service about-worker.service", "mariadb",
        "python3 -m about sanitize", "python3 -m about migrate",
        "systemctl restart about.service about-worker.service",
    ]  # fmt: skip
    assert dev1.state.journal("dev1") is None
    assert dev1.state.runs("dev1")[-1].command == "db import dev1"


def test_without_sanitizing(dev1):
    assert not import_from(dev1, sanitize=False).sanitized
    assert dev1.shell.database == PRODUCTION


def test_what_was_there_before_the_last_imports_is_kept(dev1):
    done = [import_from(dev1) for _ in range(5)]
    assert set(saved(dev1)) == {one.saved for one in done[-3:]}
    assert done[-1].saved.read_text() == SANITIZED


def test_one_that_can_not_be_sanitized_is_undone(dev1, monkeypatch):
    def fails(services, target, database):
        assert dev1.shell.database == PRODUCTION
        raise OperationError("MariaDB could not be sanitized", details="no column name")

    monkeypatch.setattr(guest, "sanitize", fails)
    with pytest.raises(OperationError, match="could not be sanitized"):
        import_from(dev1)
    assert dev1.shell.database == "what was there\n"
    assert dev1.state.journal("dev1") is None
    assert saved(dev1) == []
    assert asked(dev1)[-1].startswith("systemctl restart about.service")


def steps(dev1):
    import_from(dev1)
    count = len(dev1.host.calls)
    dev1.shell.database = "what was there\n"
    dev1.again()
    return count


@pytest.mark.parametrize("failure", [OperationError("broken"), KeyboardInterrupt()])
def test_failed_at_every_step_it_is_undone(dev1, failure):
    for number in range(1, steps(dev1) + 1):
        dev1.host.fail_number, dev1.host.failure = number, failure
        with pytest.raises(type(failure)):
            import_from(dev1)
        where = dev1.host.calls[number - 1 :]
        assert dev1.shell.database == "what was there\n", where
        assert dev1.state.journal("dev1") is None
        dev1.again()


def test_killed_at_every_step_the_next_command_undoes_it(dev1, tmp_path):
    for number in range(1, steps(dev1) + 1):
        dev1.host.fail_number, dev1.host.failure = number, Killed()
        with pytest.raises(Killed):
            import_from(dev1)
        dev1.again()
        export(dev1, tmp_path / f"{number}.sql")
        assert (tmp_path / f"{number}.sql").read_text() == "what was there\n", number
        dev1.again()


def killed_before_sanitizing(dev1):
    dev1.host.fail_at, dev1.host.failure = "import", Killed()
    with pytest.raises(Killed):
        import_from(dev1)
    assert dev1.shell.database == "half of it"
    dev1.again()


def test_one_that_was_killed_and_can_not_be_undone_is_in_nobodys_way(dev1):
    killed_before_sanitizing(dev1)
    dev1.services.domains.shutdown(dev1.vm(), timeout=0, force=True)
    lifecycle.start(dev1.services, "dev1", dev1.run("start dev1"))
    (kept,) = saved(dev1)
    assert kept.read_text() == "what was there\n"
    note = next(note for note in dev1.reporter.notes if "may be incomplete" in note)
    assert f"devvm db import dev1 {kept} --database MariaDB --no-sanitize" in note
    assert "The import of dev1 was left unfinished" in dev1.reporter.notes
    dev1.dump = kept
    import_from(dev1, sanitize=False)
    assert dev1.shell.database == "what was there\n"


def test_a_vm_that_is_locked_or_off(dev1, tmp_path):
    with transaction.changing(dev1.machine(), dev1.run("stop dev1")):
        for act in (lambda: export(dev1, tmp_path / "a"), lambda: import_from(dev1)):
            with pytest.raises(LockedError):
                act()
    lifecycle.stop(dev1.services, "dev1", dev1.run("stop dev1"))
    for act in (
        lambda: export(dev1, tmp_path / "a"),
        lambda: import_from(dev1),
        lambda: dumps.choose(dev1.services, "dev1", None, "import"),
        lambda: dumps.shell(dev1.services, "dev1", None),
    ):
        with pytest.raises(OperationError) as caught:
            act()
        assert caught.value.resolution == "devvm start dev1"


def test_a_shell_is_the_stacks(dev1):
    assert dumps.shell(dev1.services, "dev1", "mariadb") == 7
    assert asked(dev1) == ["mariadb --no-defaults about"]


def test_which_database_must_be_clear(dev1, monkeypatch, tmp_path):
    with_stack(dev1, monkeypatch, **TWO)
    with pytest.raises(UsageError, match="dev1 has Shop and Wiki") as caught:
        export(dev1, tmp_path / "a")
    assert "--database Shop" in caught.value.resolution
    with pytest.raises(NotFoundError, match="has no database wikis") as caught:
        export(dev1, tmp_path / "a", "wikis")
    assert caught.value.details == "did you mean Wiki?"
    with pytest.raises(UsageError, match="doesn't say the shell of Wiki"):
        dumps.shell(dev1.services, "dev1", "wiki")
    assert export(dev1, tmp_path / "a", "WIKI").database == "Wiki"


def test_a_stack_that_does_not_say_how(dev1, monkeypatch, tmp_path):
    with_stack(dev1, monkeypatch)
    with pytest.raises(UsageError, match="doesn't say how to export any database") as caught:
        export(dev1, tmp_path / "a")
    assert "devvm update dev1" in caught.value.resolution


def test_a_stack_without_sanitize_and_applications(dev1, monkeypatch):
    with_stack(dev1, monkeypatch, databases=TWO["databases"][:1])
    assert not import_from(dev1).sanitized
    assert [one for one in asked(dev1) if "systemctl" in one] == []
