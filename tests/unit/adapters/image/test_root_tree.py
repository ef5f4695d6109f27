"""A box is anonymous: nothing identifies the build, and secrets are found."""

import stat
import subprocess

import pytest

from devvm.adapters.image.root_tree import RootTrees
from devvm.domain.errors import OperationError

# Assembled here, so that this file contains none of the strings that it looks for.
PEM = "-----BEGIN {}PRIVATE KEY-----\nAAAA\n".format
SHADOW = "root:*:19000:0:99999:7:::\ndaemon:!:19000::::::\nvagrant:!*:19000::::::\n"

SECRETS = ("/var/lib/about/secret_key", "/var/lib/shop/*.secret", "/etc/ssl/certs/site.crt")


@pytest.fixture
def root(tmp_path):
    tree = tmp_path / "root"
    for name, text in {
        "etc/machine-id": "0123456789abcdef0123456789abcdef\n",
        "etc/hostname": "devvm-box-1\n",
        "etc/shadow": SHADOW,
        "etc/shadow-": "root:old:1::::::\n",
        "etc/ssh/ssh_host_ed25519_key": PEM("OPENSSH "),
        "etc/ssh/ssh_host_ed25519_key.pub": "ssh-ed25519 AAAA\n",
        "etc/ssh/sshd_config": "UsePAM yes\n",
        "etc/ssl/private/site.key": PEM(""),
        "etc/ssl/certs/site.crt": "certificate\n",
        "etc/ssl/certs/ca-certificates.crt": "everybody's\n",
        "var/lib/about/secret_key": "s3cret\n",
        "var/lib/vagrant/.ssh/authorized_keys": "ssh-ed25519 AAAA builder\n",
        "root/.bash_history": "ls\n",
        "root/.ansible/tmp/x": "",
        "var/log/nginx/access.log": "GET /\n",
        "var/log/nginx/access.log.1": "GET /\n",
        "var/log/journal/0123/system.journal": "x",
        "var/lib/systemd/random-seed": "x",
        "var/cache/apt/archives/a.deb": "x",
        "var/lib/redis/dump.rdb": "x",
        "var/lib/mysql/ibdata1": "data",
        "tmp/.hidden": "x",
        "usr/share/doc/x/examples/server.pem": PEM("RSA "),
    }.items():
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tree


def test_identities_and_traces_are_gone_and_the_rest_is_not(root):
    trees = RootTrees()
    trees.anonymise(root, SECRETS)
    left = {str(p.relative_to(root)) for p in root.rglob("*") if p.is_file()}
    assert left == {
        "etc/machine-id",
        "etc/shadow",
        "etc/ssh/sshd_config",
        "etc/ssl/certs/ca-certificates.crt",
        "usr/share/doc/x/examples/server.pem",
        "var/lib/mysql/ibdata1",
        "var/log/nginx/access.log",
    }
    assert trees.secrets(root, SECRETS) == []


def test_the_machine_id_is_empty_and_there(root):
    # If it were missing, systemd would reset which units are enabled.
    RootTrees().anonymise(root, SECRETS)
    assert (root / "etc/machine-id").read_text() == ""


def test_logs_are_empty_and_keep_their_place(root):
    RootTrees().anonymise(root, SECRETS)
    assert (root / "var/log/nginx/access.log").read_text() == ""


def test_it_can_be_done_again(root):
    def there():
        return {path: path.is_file() and path.read_bytes() for path in root.rglob("*")}

    RootTrees().anonymise(root, SECRETS)
    once = there()
    RootTrees().anonymise(root, SECRETS)
    assert there() == once
    assert RootTrees().secrets(root, SECRETS) == []


def test_a_link_out_of_the_tree_is_not_followed(root, tmp_path):
    precious = tmp_path / "host" / "redis"
    precious.mkdir(parents=True)
    (precious / "dump.rdb").write_text("the host's own")
    (root / "var/lib/redis/dump.rdb").unlink()
    (root / "var/lib/redis").rmdir()
    (root / "var/lib/redis").symlink_to(precious)
    (root / "var/log/away.log").symlink_to(precious / "dump.rdb")
    RootTrees().anonymise(root, SECRETS)
    assert (precious / "dump.rdb").read_text() == "the host's own"


@pytest.mark.parametrize("kind", ["", "RSA ", "EC ", "OPENSSH ", "ENCRYPTED "])
@pytest.mark.parametrize(
    "name", ["etc/app/key.pem", "srv/x", "usr/local/k", "var/lib/a/b", "root/k"]
)
def test_a_private_key_is_found_wherever_it_is_no_package_s(root, name, kind):
    RootTrees().anonymise(root, SECRETS)
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text("# comment\n" + PEM(kind))
    assert RootTrees().secrets(root, SECRETS) == [f"/{name} holds a private key"]


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("ada:$y$j9T$abc$def:1::::::", "the account ada has a password"),
        ("ada:!$y$j9T$abc$def:1::::::", "the account ada has a password"),
        ("ada::1::::::", "the account ada needs no password"),
    ],
)
def test_an_account_with_a_password_or_without_need_of_one_is_found(root, line, found):
    RootTrees().anonymise(root, SECRETS)
    (root / "etc/shadow").write_text(f"{SHADOW}{line}\n")
    assert RootTrees().secrets(root, SECRETS) == [f"/etc/shadow: {found}"]


def test_an_authorised_key_is_found(root):
    RootTrees().anonymise(root, SECRETS)
    path = root / "home/ada/.ssh/authorized_keys"
    path.parent.mkdir(parents=True)
    path.write_text("ssh-ed25519 AAAA\n")
    assert RootTrees().secrets(root, SECRETS) == [
        "/home/ada/.ssh/authorized_keys lets somebody log in"
    ]


def test_packages_are_read_from_dpkg_s_own_file(root):
    status = root / "var/lib/dpkg/status"
    status.parent.mkdir(parents=True)
    status.write_text(
        "Package: nginx\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1.22.1-9\n"
        "Description: web\n"
        " Version: not this\n\n"
        "Package: gone\nStatus: deinstall ok config-files\nVersion: 1\n\n"
        "Package: acl\nStatus: install ok installed\nArchitecture: all\nVersion: 2.3.1-3\n"
    )
    assert RootTrees().packages(root) == {
        ("acl", "all"): "2.3.1-3",
        ("nginx", "amd64"): "1.22.1-9",
    }


def test_a_tree_without_packages_is_no_box(root):
    with pytest.raises(OperationError, match="no list of its packages"):
        RootTrees().packages(root)


def test_the_groups_of_the_state_folder_are_not_the_machines(tmp_path):
    made, state = tmp_path / "made", tmp_path / "state"
    (made / "root" / ".ssh").mkdir(mode=0o700, parents=True)
    (made / "root").chmod(0o700)
    subprocess.run(["tar", "-cf", tmp_path / "rootfs.tar", "-C", made, "."], check=True)
    state.mkdir()
    state.chmod(0o2770)
    RootTrees().unpack(tmp_path / "rootfs.tar", state / "tree", log=tmp_path / "log")
    for folder in ("", "root", "root/.ssh"):
        assert stat.S_IMODE((state / "tree" / folder).stat().st_mode) in (0o700, 0o755), folder


def test_what_a_role_declares_as_secret_is_removed_and_looked_for(root):
    for name in ("var/lib/about/secret_key", "var/lib/shop/a.secret", "var/lib/shop/b.txt"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("raw bytes")
    said = "/var/lib/shop/a.secret is a secret of its machine, as a role declares"
    assert said in RootTrees().secrets(root, SECRETS)
    RootTrees().anonymise(root, SECRETS)
    assert RootTrees().secrets(root, SECRETS) == []
    assert [path.name for path in (root / "var/lib/shop").iterdir()] == ["b.txt"]
