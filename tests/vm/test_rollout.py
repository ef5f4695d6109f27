"""Releases and a rollout on a real VM: there, back, and a bad release that never gets there.

Releases differ in one setting of nginx and in the site's schema, which is converged in place. So
the boxes of the second and the third are the first one's image: nothing looks at what is in them.
"""

import hashlib
import os
import pty
import select
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import yaml

from devvm.adapters.box_store import FolderBoxStore
from devvm.adapters.release_store import FolderReleaseStore
from devvm.release import content_hash, new_release, release_hash
from devvm.state import State
from tests.vm.conftest import HERE, REPOSITORY
from tests.vm.site_client import Site

pytestmark = pytest.mark.vm

NGINX = "roles/nginx/templates/etc/nginx/nginx.conf.j2"
SITE = "roles/site/files/about"
MIGRATION = '''"""Let people say their pronouns."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade():
    op.add_column("people", sa.Column("pronouns", sa.String(32), nullable=True))


def downgrade():
    op.drop_column("people", "pronouns")
'''


def edit(path, old, new):
    text = path.read_text()
    assert old in text, (path, old)
    path.write_text(text.replace(old, new))


def checkout(folder):
    """A copy of this checkout."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY, capture_output=True, text=True, check=True,
    )  # fmt: skip
    for name in filter(None, listed.stdout.split("\0")):
        if (REPOSITORY / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / name, folder / name)
    return folder


def keep_alive(folder, old, new):
    """Another setting of nginx, and production that has it too."""
    old, new = f"keepalive_timeout {old};", f"keepalive_timeout {new};"
    edit(folder / NGINX, old, new)
    manifest = folder / "production" / "manifest.yml"
    text = manifest.read_text()
    areas = yaml.safe_load(text)["areas"]
    for item in (areas["file"]["/etc/nginx/nginx.conf"], areas["setting"]["nginx/config"]):
        for content in (item["content"], item["content"].replace(old, new)):
            was = hashlib.sha256(item["content"].encode()).hexdigest()
            text = text.replace(was, hashlib.sha256(content.encode()).hexdigest())
    manifest.write_text(text.replace(old, new))


def give_box(devvm, folder, box):
    """Register the first box's image as the box of the stack in a checkout."""
    state = State(devvm.state)
    parts = {part: folder / part for part in ("roles", "playbooks", "production")}
    content = content_hash((parts["roles"], parts["playbooks"]))
    boxes, releases = FolderBoxStore(state), FolderReleaseStore(state, **parts)
    first = boxes.find(box["release"])
    release = new_release(release_hash(content, boxes.package_set(first)))
    facts = {
        **boxes.details(first),
        "content": content,
        "release": release,
        "production_sha256": releases.production_in_hand_sha256(),
    }
    copy = folder / "devvm.box"
    shutil.copy2(first.path, copy)
    return boxes.register(replace(first, release=facts["release"], path=copy), facts)


@pytest.fixture(scope="module")
def releases(devvm, dev1, box, tmp_path_factory):
    """Three releases on record, by name, each with the devvm whose stack it is."""
    made, boxes = {"first": devvm}, []
    devvm("release", "create", "--note", "as it was")
    for name in ("good", "bad"):
        folder = checkout(tmp_path_factory.mktemp(name))
        keep_alive(folder, "65s", "75s" if name == "good" else "85s")
        edit(folder / SITE / "about" / "people.py", 'REVISION = "0001"', 'REVISION = "0002"')
        versions = folder / SITE / "migrations" / "versions"
        text = MIGRATION
        if name == "bad":  # it fails when it has done half of its work
            text = MIGRATION.replace("=True))", '=True))\n    op.execute("nonsense")')
        (versions / "0002_add_pronouns.py").write_text(text)
        boxes.append(give_box(devvm, folder, box))
        made[name] = devvm.of(folder)
    yield made
    for given in boxes:
        devvm("box", "remove", given.release)


def release_of(devvm):
    (found,) = [vm for vm in devvm("list", "--json").json["vms"] if vm["name"] == "dev1"]
    return found


def setting(devvm):
    out = devvm("exec", "dev1", "--", "sudo", "nginx", "-T").stdout
    return next(line.split()[1] for line in out.splitlines() if "keepalive_timeout" in line)


def columns(devvm):
    query = "SELECT COUNT(*) FROM information_schema.columns WHERE table_name = 'people'"
    argv = ["exec", "dev1", "--", "sudo", "mariadb", "--batch", "--skip-column-names"]
    return int(devvm(*argv, "--execute", query).stdout)


def test_a_release_goes_out_and_comes_back(releases, dev1, devvm, tmp_path):
    site = Site(dev1["url"], devvm.state / "ca" / "ca.crt")
    site.add(None, login="ann", name="Ann", title="Engineer", bio="Was here before.")
    devvm("exec", "dev1", "--", "sh", "-c", "echo before >notes; echo gone >gone")
    before = columns(devvm)
    good = releases["good"]
    created = good("release", "create", "--note", "keep alive for longer", "--json").json
    new = created["release"]["release"]
    assert "keepalive_timeout 65s → 75s" in "\n".join(created["release"]["changes"])
    assert new in good("release", "list").stdout
    assert "keep alive for longer" in good("release", "show", "latest").stdout
    assert release_of(devvm)["behind"] == 1
    plan = good("rollout", "plan", "latest", "--json").json
    assert [(vm["name"], vm["way"]) for vm in plan["waves"][0]["vms"]] == [("dev1", "converge")]

    done = good("rollout", "start", "latest", "--yes", "--json").json["rollout"]
    assert done["state"] == "done", done
    assert (release_of(devvm)["release"], release_of(devvm)["behind"]) == (new, 0)
    assert (setting(devvm), columns(devvm)) == ("75s;", before + 1)
    assert "ann" in site.people()
    report = good("verify", "dev1", "--json").json
    assert report["passed"], [c for c in report["checks"] if c["outcome"] == "failed"]
    assert "dev1" in good("rollout", "status").stdout
    assert "done" in good("rollout", "log", "--vm", "dev1").stdout

    devvm("exec", "dev1", "--", "sh", "-c", "echo after >notes; rm gone; echo new >new")
    back = good("rollout", "rollback", "--yes", "--json").json["rollout"]
    assert back["state"] == "rolled back", back
    assert release_of(devvm)["release"] == dev1["vm"]["release"]
    assert (setting(devvm), columns(devvm)) == ("65s;", before)
    assert "ann" in site.people()
    files = devvm("exec", "dev1", "--", "sh", "-c", "cat notes new; ls gone || true")
    assert files.stdout == "after\nnew\n"
    report = devvm("verify", "dev1", "--json").json
    assert report["passed"], [c for c in report["checks"] if c["outcome"] == "failed"]

    page = tmp_path / "fleet.html"
    devvm("fleet", "report", "--html", str(page))
    assert all(word in page.read_text() for word in ("dev1", new, "rolled back"))


def test_a_bad_release_is_stopped_at_the_canary_which_is_as_it_was(releases, dev1, devvm):
    before = columns(devvm)
    bad = releases["bad"]
    bad("release", "create")
    failed = bad("rollout", "start", "latest", "--yes", code=1)
    assert "Migrate" in failed.stdout + failed.stderr
    assert "nonsense" in failed.stdout + failed.stderr or ".log" in failed.stdout + failed.stderr
    assert release_of(devvm)["release"] == dev1["vm"]["release"]
    assert (setting(devvm), columns(devvm)) == ("65s;", before)
    report = devvm("verify", "dev1", "--json").json
    assert report["passed"], [c for c in report["checks"] if c["outcome"] == "failed"]
    status = bad("rollout", "status", "--json").json["rollout"]
    assert status["state"] == "failed"


def test_a_pinned_vm_is_told_in_the_plan(releases, dev1, devvm):
    until = str(datetime.now(UTC).date() + timedelta(days=2))
    devvm("pin", "dev1", "--until", until, "--reason", "demo")
    plan = releases["good"]("rollout", "plan", releases_of(devvm)[1], "--json").json
    assert "demo" in plan["waves"][0]["vms"][0]["waits"]
    devvm("unpin", "dev1")
    assert devvm("show", "dev1", "--json").json["vm"]["pinned_until"] is None


def test_an_update_to_where_a_vm_is_checks_it(releases, dev1, devvm):
    done = devvm("update", "dev1", "--release", dev1["vm"]["release"], "--json").json
    assert (done["way"], done["report"]["passed"]) == (None, True)


def test_who_is_logged_in_and_active_is_asked(releases, dev1, devvm):
    """A real terminal: the question is seen on it, and its answer puts the VM off for good."""
    with terminal() as shell:
        shell.wait_for("jane@dev1")
        shell.type("true\n")
        newest = releases_of(devvm)[1]
        with ThreadPoolExecutor() as pool:
            argv = ["rollout", "start", newest, "--yes", "--ask-minutes", "30", "--json"]
            rollout = pool.submit(releases["good"], *argv, code=None)
            shell.wait_for(f"brings this VM to release {newest}")
            shell.type("touch ~/update-later\n")
            done = rollout.result()
    assert (done.code, done.json["rollout"]["state"]) == (1, "paused"), done.json
    assert "no canary" in done.json["rollout"]["why"]
    (found,) = done.json["rollout"]["waves"][0]["vms"]
    assert (found["state"], "put off" in found["why"]) == ("later", True)
    assert release_of(devvm)["release"] == dev1["vm"]["release"]
    devvm("rollout", "abort", "--yes")


class Terminal:
    """`devvm ssh dev1` on a terminal of its own."""

    def __init__(self):
        self._main, self._terminal = pty.openpty()
        self._seen = ""
        self.child = subprocess.Popen(
            [sys.executable, "-m", "devvm", "ssh", "dev1"],
            cwd=REPOSITORY,
            env={"DEVVM_CONFIG": str(HERE / "config.toml"), "PATH": "/usr/bin:/bin",
                 "TERM": "xterm", "HOME": os.environ.get("HOME", "/root")},
            stdin=self._terminal, stdout=self._terminal, stderr=self._terminal,
            start_new_session=True,
        )  # fmt: skip

    def wait_for(self, text, seconds=180):
        deadline = time.monotonic() + seconds
        while text not in self._seen and time.monotonic() < deadline:
            if select.select([self._main], [], [], 1)[0]:
                self._seen += os.read(self._main, 4096).decode(errors="replace")
        assert text in self._seen, self._seen

    def type(self, text):
        os.write(self._main, text.encode())


@contextmanager
def terminal():
    shell = Terminal()
    try:
        yield shell
    finally:
        shell.child.kill()
        shell.child.wait()


def releases_of(devvm):
    return [r["release"] for r in devvm("release", "list", "--json").json["releases"]]
