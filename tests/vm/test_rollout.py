"""Releases and a rollout on a real VM: there, back, and a bad release that never gets there.

Releases differ in one setting of nginx and in the site's schema, which is converged in place. So
the boxes of the second and the third are the first one's image: nothing looks at what is in them.
"""

import hashlib
import shutil
import subprocess
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import yaml
from conftest import REPOSITORY
from site_client import Site

from devvm.adapters.box_store import FolderBoxStore
from devvm.adapters.release_store import FolderReleaseStore
from devvm.release import content_hash
from devvm.state import State

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
    facts = {
        **boxes.details(first),
        "content": content,
        "release": f"{first.release.rpartition('-')[0]}-{content}",
        "production_sha256": releases.production_in_hand_sha256(),
    }
    copy = folder / "devvm.box"
    shutil.copy2(first.path, copy)
    return boxes.register(replace(first, release=facts["release"], path=copy), facts)


@pytest.fixture(scope="module")
def releases(devvm, vm, box, tmp_path_factory):
    """Three releases on record, by name, each with the devvm whose stack it is."""
    made = {"first": devvm}
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
        give_box(devvm, folder, box)
        made[name] = devvm.of(folder)
    return made


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


def test_a_release_goes_out_and_comes_back(releases, vm, devvm, tmp_path):
    site = Site(vm["url"], devvm.state / "ca" / "ca.crt")
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
    assert [v["way"]["kind"] for v in plan["vms"]] == ["converge"]

    done = good("rollout", "start", "latest", "--yes", "--json").json
    assert done["state"] == "done", done
    assert (release_of(devvm)["release"], release_of(devvm)["behind"]) == (new, 0)
    assert (setting(devvm), columns(devvm)) == ("75s;", before + 1)
    assert "ann" in site.people()
    report = good("verify", "dev1", "--json").json
    assert report["passed"], [c for c in report["checks"] if c["outcome"] == "failed"]
    assert "dev1" in good("rollout", "status").stdout
    assert "done" in good("rollout", "log", "--vm", "dev1").stdout

    devvm("exec", "dev1", "--", "sh", "-c", "echo after >notes; rm gone; echo new >new")
    back = good("rollout", "rollback", "--yes", "--json").json
    assert back["state"] == "rolled back", back
    assert release_of(devvm)["release"] == vm["vm"]["release"]
    assert (setting(devvm), columns(devvm)) == ("65s;", before)
    assert "ann" in site.people()
    files = devvm("exec", "dev1", "--", "sh", "-c", "cat notes new; ls gone || true")
    assert files.stdout == "after\nnew\n"
    report = devvm("verify", "dev1", "--json").json
    assert report["passed"], [c for c in report["checks"] if c["outcome"] == "failed"]

    page = tmp_path / "fleet.html"
    devvm("fleet", "report", "--html", str(page))
    assert all(word in page.read_text() for word in ("dev1", new, "rolled back"))


def test_a_bad_release_is_stopped_at_the_canary_which_is_as_it_was(releases, vm, devvm):
    before = columns(devvm)
    bad = releases["bad"]
    bad("release", "create")
    failed = bad("rollout", "start", "latest", "--yes", code=1)
    assert "Migrate" in failed.stdout + failed.stderr
    assert "nonsense" in failed.stdout + failed.stderr or ".log" in failed.stdout + failed.stderr
    assert release_of(devvm)["release"] == vm["vm"]["release"]
    assert (setting(devvm), columns(devvm)) == ("65s;", before)
    report = devvm("verify", "dev1", "--json").json
    assert report["passed"], [c for c in report["checks"] if c["outcome"] == "failed"]
    status = bad("rollout", "status", "--json").json
    assert status["state"] == "failed"


def test_a_pinned_vm_stays_and_its_owner_may_update_it(releases, vm, devvm):
    devvm(
        "pin",
        "dev1",
        "--until",
        str(datetime.now(UTC).date() + timedelta(days=2)),
        "--reason",
        "demo",
    )
    refused = releases["good"]("rollout", "plan", releases_of(devvm)[-2], "--json").json
    assert "demo" in refused["vms"][0]["waits"]
    devvm("unpin", "dev1")
    assert devvm("show", "dev1", "--json").json["vm"]["pinned_until"] is None


def releases_of(devvm):
    return [r["release"] for r in devvm("release", "list", "--json").json["releases"]]
