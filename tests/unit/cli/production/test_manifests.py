"""`devvm production show`, `diff`, `lint`, `propose`: text, JSON, exit codes, invalid files."""

import os
import stat

import pytest

from devvm import wiring
from devvm.parity.production.manifest import Manifest, dump

ROLES = "default: base\nroles:\n  nginx: ['*nginx*']\n"
OLD = {
    "package": {"nginx": {"version": "1.22"}, "zip": {"version": "3.0"}},
    "setting": {"mariadb/max_connections": {"value": "100"}},
    "file": {"/etc/nginx/nginx.conf": {"mode": "0644", "content": "a;\nb;\n"}},
    "unit": {"nginx.service": {"enabled": "enabled", "state": "active (running)"}},
}
NEW = OLD | {
    "package": {"nginx": {"version": "1.24"}},
    "file": {"/etc/nginx/nginx.conf": {"mode": "0644", "content": "a;\nc;\n"}},
}


@pytest.fixture
def write(tmp_path):
    def written(name, areas, **more):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(dump(Manifest(areas=areas, **more)))
        return str(file)

    return written


@pytest.fixture
def production(tmp_path, write, monkeypatch):
    """A production folder, used instead of the stack's."""
    write("production/manifest.yml", OLD, captured="2026-01-31", hosts=("web1", "web2"),
          varies={"package": {"linux": ["present"]}})  # fmt: skip
    folder = tmp_path / "production"
    (folder / "roles.yml").write_text(ROLES)
    monkeypatch.setattr(wiring, "production", lambda config: folder)
    return folder


# show ----------------------------------------------------------------------------------------


def test_show_an_overview(cli, production):
    done = cli("production", "show")
    assert done.code == 0, done.stderr
    for line in (
        "captured   2026-01-31", "hosts      web1, web2", "package  2",
        "  package/linux: present", "5 items in 4 areas",
    ):  # fmt: skip
        assert line in done.stdout.splitlines()
    data = cli("production", "show", "--json").json
    assert set(data) == {
        "file", "captured", "hosts", "only_if", "unless", "areas", "varies", "items",
    }  # fmt: skip
    assert data["areas"]["package"] == 2
    assert data["varies"] == [{"check": "package/linux", "facts": ["present"]}]
    assert data["items"] is None


def test_show_one_item_whole(cli, production):
    done = cli("production", "show", "file/etc/nginx/nginx.conf")
    assert done.stdout == "file/etc/nginx/nginx.conf\nmode   0644\n\ncontent:\na;\nb;\n"
    (item,) = cli("production", "show", "file/etc/nginx/nginx.conf", "--json").json["items"]
    assert set(item) == {"check", "area", "item", "facts", "varies"}
    assert item["facts"]["content"] == "a;\nb;\n"


def test_show_what_only_some_hosts_have(cli, production):
    assert "varies   present" in cli("production", "show", "package/linux").stdout


@pytest.mark.parametrize("pattern", ["package", "package/*", "*/[nlz]*[xp]"])
def test_show_several_items_in_a_line_each(cli, production, pattern):
    lines = cli("production", "show", pattern).stdout.splitlines()
    assert lines == [
        "CHECK          FACTS",
        "package/linux  varies: present",
        "package/nginx  version: 1.22",
        "package/zip    version: 3.0",
    ]


def test_a_name_with_signs_of_patterns_is_a_name(cli, write):
    file = write("m.yml", {"user": {"[x]": {"shell": "/a"}, "x": {}}})
    assert cli("production", "show", "user/[x]", "--manifest", file).stdout.startswith("user/[x]")


def test_text_of_others_does_not_drive_the_terminal(cli, write):
    file = write("m.yml", {"file": {"/x": {"content": "a\x1b[31mb\n[bold]c\n"}}})
    assert cli("production", "show", "file/x", "--manifest", file).stdout.endswith("ab\n[bold]c\n")


def test_show_nothing(cli, production):
    done = cli("production", "show", "unit/ngnix.service")
    assert done.code == 2
    assert "did you mean unit/nginx.service?" in done.stderr
    assert "Next: devvm production show unit/nginx.service" in done.stderr
    assert cli("production", "show", "").code == 2


# diff ----------------------------------------------------------------------------------------


def test_diff(cli, write):
    done = cli("production", "diff", write("a.yml", OLD), write("b.yml", NEW))
    assert done.code == 3
    assert done.stdout.splitlines() == [
        "file: 1 item",
        "  file/etc/nginx/nginx.conf: changed: content differs",
        "    --- a/file/etc/nginx/nginx.conf",
        "    +++ b/file/etc/nginx/nginx.conf",
        "    @@ -1,2 +1,2 @@",
        "     a;",
        "    -b;",
        "    +c;",
        "",
        "package: 2 items",
        "  package/nginx: changed: version: 1.22 -> 1.24",
        "  package/zip: removed: version: 3.0",
        "",
        "3 items: 0 added, 1 removed, 2 changed",
    ]


def test_diff_in_json(cli, write):
    old = write("a.yml", OLD, varies={"unit": {"x": ["state"]}})
    done = cli("production", "diff", old, write("b.yml", {**NEW, "tls": {}}), "--json")
    assert done.code == 3
    assert set(done.json) == {"a", "b", "equal", "changes", "varies", "areas", "conditions"}
    assert done.json["equal"] is False
    assert set(done.json["changes"][0]) == {
        "check", "area", "item", "change", "old", "new", "diff",
    }  # fmt: skip
    assert done.json["varies"] == [{"check": "unit/x", "added": [], "removed": ["state"]}]
    assert done.json["areas"] == {"tls": "added"}


def test_diff_of_the_same(cli, write):
    old, new = write("a.yml", OLD), write("b.yml", OLD, captured="2026-02-01")
    assert cli("production", "diff", old, new).stdout == "No differences\n"
    done = cli("production", "diff", old, new, "--json")
    assert (done.code, done.json["equal"]) == (0, True)


def test_diff_of_a_pipe(cli, write, tmp_path):
    """As with `<(git show HEAD:production/manifest.yml)`."""
    reader, writer = os.pipe()
    small = dump(Manifest(areas={"unit": {"x": {"state": "y"}}}))
    os.write(writer, small.encode())
    os.close(writer)
    done = cli("production", "diff", f"/dev/fd/{reader}", write("b.yml", NEW))
    os.close(reader)
    assert done.code == 3
    assert "unit/x: removed" in done.stdout


# lint ----------------------------------------------------------------------------------------


def test_lint_of_the_stack(cli, production, write):
    write("production/overlay/10-dev.yml", {"file": {"/tmp/": {"mode": "0777"}}})
    (production / "roles.yml").write_text(ROLES + "  old: ['*exim*']\n")
    done = cli("production", "lint")
    assert done.code == 0
    where = f"{production}/overlay/10-dev.yml:4"
    assert done.stdout.splitlines() == [
        f"{where}: warning: file/tmp/: everybody can write to it: mode 0777 [writable]",
        f"{production}/roles.yml: warning: old: *exim* matches no item [roles]",
        "3 files: 2 warnings",
    ]


def test_nobody_has_to_be_named_for_anything(cli, production, write):
    (production / "roles.yml").unlink()
    done = cli("production", "lint")
    assert (done.code, done.stdout) == (0, f"{production}/manifest.yml: no problems\n")
    assert "production: 2 changes" in cli("production", "propose", write("new.yml", NEW)).stdout


def test_the_shipped_manifest_is_good(cli):
    done = cli("production", "lint", "--json")
    assert (done.code, done.json["errors"]) == (0, 0), done.json["findings"]


def test_lint_finds_secrets_as_the_collectors_do(cli, write):
    file = write("m.yml", {"file": {"/etc/x": {"content": "requirepass hunter2\n"}}})
    done = cli("production", "lint", file)
    assert done.code == 1
    assert f"{file}:4: error: file/etc/x: content: a secret: requirepass {{secret}}" in done.stdout
    assert "hunter2" not in done.stdout + done.stderr
    data = cli("production", "lint", file, "--json").json
    assert set(data) == {"files", "good", "errors", "warnings", "findings"}
    assert set(data["findings"][0]) == {"file", "line", "check", "severity", "rule", "message"}
    assert (data["good"], data["errors"], data["warnings"]) == (False, 1, 0)


def test_lint_of_a_good_one(cli, write):
    file = write("m.yml", OLD)
    assert cli("production", "lint", file).stdout == f"{file}: no problems\n"


def test_lint_puts_in_order(cli, tmp_path):
    file = tmp_path / "m.yml"
    file.write_text("# why\nformat: 1\nareas:\n  unit:\n    b: {}\n    a: {}\n")
    file.chmod(0o640)
    assert "to fix it: devvm production lint --fix" in cli("production", "lint", str(file)).stdout
    done = cli("production", "lint", "--fix", str(file))
    assert done.code == 0, done.stdout
    assert file.read_text() == "# why\nformat: 1\nareas:\n  unit:\n    a: {}\n    b: {}\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o640


def test_comments_are_not_lost(cli, tmp_path):
    file = tmp_path / "m.yml"
    text = "areas:\n  unit:\n    # why\n    b: {}\n"
    file.write_text(text)
    done = cli("production", "lint", "--fix", str(file))
    assert done.code == 2
    assert "line 3" in done.stderr
    assert file.read_text() == text


# propose -------------------------------------------------------------------------------------


def test_propose(cli, production, write):
    done = cli("production", "propose", write("new.yml", NEW))
    assert done.code == 0, done.stderr
    assert done.stdout.splitlines() == [
        "base: 1 change",
        "  remove package zip",
        "",
        "nginx: 2 changes",
        "  upgrade package nginx 1.22 -> 1.24",
        "  change file /etc/nginx/nginx.conf (roles/nginx/templates/etc/nginx/nginx.conf.j2)",
        "      --- a/etc/nginx/nginx.conf",
        "      +++ b/etc/nginx/nginx.conf",
        "      @@ -1,2 +1,2 @@",
        "       a;",
        "      -b;",
        "      +c;",
        "",
        "3 changes in 2 roles",
    ]


def test_propose_in_json(cli, production, write):
    data = cli("production", "propose", write("new.yml", NEW), "--json").json
    assert set(data) == {"from", "to", "tasks", "notes"}
    assert set(data["tasks"][0]) == {
        "role", "check", "area", "item", "text", "source", "diff", "old", "new",
    }  # fmt: skip
    assert data["tasks"][2]["source"] == "roles/nginx/templates/etc/nginx/nginx.conf.j2"


def test_nothing_to_propose(cli, production, write):
    done = cli("production", "propose", write("new.yml", OLD), "--from", write("old.yml", OLD))
    assert (done.code, done.stdout) == (0, "Nothing has to change in the roles.\n")


def test_what_can_not_be_proposed(cli, production, write):
    done = cli("production", "propose", str(production / "manifest.yml"))
    assert done.code == 2
    assert "compared with itself" in done.stderr
    done = cli("production", "propose", write("layer.yml", NEW, only_if=("engineer",)))
    assert done.code == 2
    assert "one of them is a layer" in done.stderr
    (production / "roles.yml").write_text("roles: 1\n")
    done = cli("production", "propose", write("new.yml", NEW))
    assert done.code == 2
    assert "roles.yml" in done.stderr


# Bad files -----------------------------------------------------------------------------------

BAD = {
    "empty": b"",
    "list": b"- a\n",
    "another format": b"format: 2\n",
    "unknown key": b"area: {}\n",
    "no date": b"captured: 2026-13-45\n",
    "not text": b"areas: {unit: {x: {state: [1]}}}\n",
    "broken tag": b"areas: {unit: {x: {state: !!bool x}}}\n",
    "code": b"areas: !!python/object/apply:os.system [true]\n",
    "not YAML": b"areas:\n\t- x: [\n",
    "not UTF-8": b"\xff\xfe\x00\x01",
    "zeros": b"\x00" * 100,
    "deep": b"areas: " + b"[" * 50_000,
    "itself": b"areas: &a {unit: *a}\n",
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("command", ["show", "diff", "lint", "propose"])
def test_bad_files(cli, production, tmp_path, name, command):
    file = tmp_path / "bad.yml"
    file.write_bytes(BAD[name])
    argv = {
        "show": ("show", "--manifest", str(file)),
        "diff": ("diff", str(production / "manifest.yml"), str(file)),
        "lint": ("lint", str(file)),
        "propose": ("propose", str(file)),
    }[command]
    done = cli("production", *argv, "--json")
    assert done.code == 2
    error = done.json["error"]
    assert "bad.yml" in error["brief"]
    assert "\n" not in error["brief"]
    assert error["resolution"]


def test_files_that_are_none(cli, production, tmp_path):
    for path in (tmp_path / "none.yml", tmp_path):
        for argv in (("show", "--manifest", path), ("diff", path, path), ("propose", path)):
            done = cli("production", *map(str, argv))
            assert done.code == 2
            assert str(path) in done.stderr
            assert "Next: " in done.stderr
    assert cli("production", "lint", str(tmp_path / "none.yml")).code == 2
    assert "manifest.yml" in cli("production", "lint", str(tmp_path)).stderr
