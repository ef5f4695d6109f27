"""What is a secret, and what only looks like one."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
import yaml

from devvm.operations.production import manifests
from devvm.parity.collect.collectors import common
from devvm.parity.production.manifest import Manifest, dump

PRODUCTION = Path(__file__).parents[4] / "production"


@pytest.mark.parametrize(
    ("text", "public", "secrets"),
    [
        ("password = hunter2 and more", "password = {secret}", ["hunter2 and more"]),
        ("db_password: hunter2", "db_password: {secret}", ["hunter2"]),
        ('{"api_key": "x1", "a": 1}', '{"api_key": "{secret}", "a": 1}', ["x1"]),
        (
            "Environment=DB_PASSWORD=hunter2 A=1",
            "Environment=DB_PASSWORD={secret} A=1",
            ["hunter2"],
        ),
        (
            "ExecStart=/bin/x --password=hunter2",
            "ExecStart=/bin/x --password={secret}",
            ["hunter2"],
        ),
        ("x --token hunter2 y", "x --token {secret} y", ["hunter2"]),
        ("requirepass hunter2", "requirepass {secret}", ["hunter2"]),
        ("url = mysql://u:pw@db/x", "url = mysql://u:{secret}@db/x", ["pw"]),
        ("Authorization: Bearer abc", "Authorization: Bearer {secret}", ["abc"]),
        ("CREATE USER a IDENTIFIED BY 'x'", "CREATE USER a IDENTIFIED BY {secret}", ["'x'"]),
        (
            "a\n-----BEGIN PRIVATE KEY-----\nxx\n-----END PRIVATE KEY-----\nb",
            "a\n{secret}\nb",
            None,
        ),
    ],
)
def test_secrets_do_not_leave_the_machine(text, public, secrets):
    found, hidden = common.redact(text)
    assert found == public
    assert len(hidden) == 1
    assert secrets in (None, hidden)


#: Lines with the secret `hunter2`, which is all that is hidden, or with what replaces it.
HIDDEN = (
    # PHP
    "define('DB_PASSWORD', 'hunter2');",
    "define( 'AUTH_KEY', 'hunter2' );",
    "define('NONCE_SALT', \"hunter2\");",
    "$db['passwd'] = 'hunter2';",
    "$db['default']['password'] = 'hunter2';",
    "$cfg['blowfish_secret'] = 'hunter2'; // 32 characters",
    "$config['des_key'] = 'hunter2';",
    "$dbpass='hunter2';",
    ("  'password' => 'hunter2',", "  'password' => {secret}"),
    "array('user' => 'a', 'password' => 'hunter2')",
    "'key' => env('APP_KEY', 'hunter2'),",
    # Web servers, FPM
    "SetEnv DB_PASSWORD hunter2",
    '    SetEnv DB_PASSWORD "hunter2"',
    "#SetEnv DB_PASSWORD hunter2",
    "Define API_TOKEN hunter2",
    'RequestHeader set X-Api-Key "hunter2"',
    'Header always set X-Auth-Token "hunter2"',
    "env[DB_PASS] = hunter2",
    "php_admin_value[smtp_password] = hunter2",
    'fastcgi_param APP_SECRET "hunter2"',
    "    fastcgi_param  APP_SECRET  hunter2;",
    'proxy_set_header X-Api-Key "hunter2";',
    'proxy_set_header Authorization "hunter2";',
    ('proxy_set_header Authorization "Basic hunter2";',
     'proxy_set_header Authorization "{secret}";'),
    "http-request set-header X-Api-Key hunter2",
    "set $api_key 'hunter2';",
    "secure_link_secret hunter2;",
    # Environments
    "APP_KEY=hunter2",
    ("APP_KEY=base64:hunter2", "APP_KEY={secret}"),
    "Environment=APP_KEY=hunter2",
    ("Environment=APP_KEY=base64:hunter2==", "Environment=APP_KEY={secret}"),
    'Environment="APP_KEY=hunter2" LANG=C',
    ('Environment=A=1 "DB_PASS=hunter2 in words" LANG=C',
     'Environment=A=1 "DB_PASS={secret}" LANG=C'),
    # Commands
    "0 3 * * * root curl -u admin:hunter2 https://example.com/",
    "curl -fsSu 'admin:hunter2' https://example.com/",
    'curl --user "admin:hunter2" https://example.com/',
    'curl -H "Authorization: Bearer hunter2" https://example.com/',
    'curl -H "X-Api-Key: hunter2" https://example.com/',
    "mysql -phunter2 shop",
    "0 4 * * * root mysqldump -u root -phunter2 --all-databases | gzip > /backup.gz",
    "mariadb-dump -p'hunter2' shop",
    "sshpass -p hunter2 ssh a@b",
    "wget --user=a --http-password hunter2 https://example.com/",
    "x --db-password 'hunter2'",
    # Others
    "<password>hunter2</password>",
    '  <db:api-key type="text">hunter2</db:api-key>',
    '<add key="password" value="hunter2" />',
    "bindpw hunter2",
    "rootpw  hunter2",
    ('psk="hunter2"', "psk={secret}"),
    "wpa-psk hunter2",
    "PresharedKey = hunter2",
    "rocommunity hunter2",
    "rwcommunity hunter2 10.0.0.0/8",
    "com2sec local localhost hunter2",
    "createUser monitor SHA hunter2",
    ("createUser monitor SHA-256 hunter2 AES other", "createUser monitor SHA-256 {secret}"),
    'secret "hunter2";',
    "        secret hunter2;",
    'key "k" { algorithm hmac-sha256; secret "hunter2"; };',
    "sentinel auth-pass mymaster hunter2",
    "machine example.com login a password hunter2",
    "dsn = https://hunter2@sentry.example.com/1",
    "https://hunter2:@example.com/",
    'open(token=b"hunter2")',
)  # fmt: skip


@pytest.mark.parametrize("case", HIDDEN)
def test_every_kind_of_secret(case):
    text, public = case if isinstance(case, tuple) else (case, case.replace("hunter2", "{secret}"))
    found, hidden = common.redact(text)
    assert found == public
    assert "hunter2" in "".join(hidden)


@pytest.mark.parametrize("case", HIDDEN)
def test_what_is_hidden_is_hidden_once(case):
    once, _ = common.redact(case if isinstance(case, str) else case[0])
    assert common.redact(once) == (once, [])


@pytest.mark.parametrize("case", HIDDEN)
def test_lint_finds_what_a_capture_hides(case, tmp_path):
    text = case if isinstance(case, str) else case[0]
    file = tmp_path / "manifest.yml"
    for content, rules in ((text, ["secret"]), (common.redact(text)[0], [])):
        file.write_text(dump(Manifest(areas={"file": {"/etc/x": {"content": content}}})))
        _, found = manifests.lint(file)
        assert [one.finding.rule for one in found] == rules
        assert not any("hunter2" in one.finding.message for one in found)


@pytest.mark.parametrize(
    "text",
    [
        "mysql://shop:123456@db/shop",
        "requirepass 123456",
        "mysql -p123456 shop",
        "rocommunity 123456",
        "password = 'a;b c'",
        "x(password='a;b, c')",
        r"x(password='it\'s')",
    ],
)
def test_a_secret_of_any_characters(text):
    found, hidden = common.redact(text)
    assert len(hidden) == 1
    assert not set(found.partition("{secret}")[2]) - set("'@/)dbshop ")


def test_a_line_whose_secret_is_removed_is_another_but_not_one_with_another_secret():
    one, other, none = ("port=1\nAPP_KEY=one\n", "port=1\nAPP_KEY=other\n", "port=1\n")
    assert common.redact(one)[0] == common.redact(other)[0] != common.redact(none)[0]


def texts_of(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for one in value.values():
            yield from texts_of(one)
    elif isinstance(value, list):
        for one in value:
            yield from texts_of(one)


@pytest.mark.parametrize(
    "path",
    [PRODUCTION / "manifest.yml", *sorted(PRODUCTION.glob("overlay/*.yml"))],
    ids=lambda path: path.name,
)
def test_what_was_captured_has_nothing_to_hide(path):
    areas = yaml.load(path.read_text(), Loader=yaml.CSafeLoader)["areas"]
    looked = 0
    for area, items in areas.items():
        for item, facts in items.items():
            named = f"{item.rpartition('/')[2]}={(facts or {}).get('value', '')}"
            for text in [*texts_of(facts), *([named] if area in ("manager", "setting") else [])]:
                assert common.redact(text) == (text, []), f"{area}/{item}"
                looked += 1
    assert looked


SAMPLES = (
    "password = hunter2 and more", "db_password: hunter2", '{"api_key": "x1", "a": 1}',
    "x --token hunter2 y", "requirepass hunter2", "masterauth  x", "url = mysql://u:pw@db/x",
    "authorization:\nBearer abc", "CREATE USER a IDENTIFIED\nBY 'x\ny'", "pa\u017fsword = x",
    "TO\u212aEN = y", "plain = 1", "", "# a comment on passwords", "auth-pass\tx",
    "-----BEGIN PRIVATE KEY-----\nxx\n-----END PRIVATE KEY-----", "ALL=NOPASSWD: ALL", "\x0c\r",
    *(case if isinstance(case, str) else case[0] for case in HIDDEN),
)  # fmt: skip


def plainly(text):
    """Like `common.redact`, without searching for words before the patterns."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(common, "_SUSPECT", ("",))
        patch.setattr(common, "_SUSPECT_FOLDED", ("",))
        return common.redact(text)


def test_no_secret_is_missed_for_speed():
    dice = random.Random(7)
    for _ in range(500):
        text = "\n".join(dice.choices(SAMPLES, k=dice.randrange(1, 8)))
        found = common.redact(text)
        assert found == plainly(text), text
        assert common.redact(found[0]) == (found[0], []), text


def test_this_machines_files_are_redacted_as_without_the_look_for_words():
    looked = 0
    for path in sorted(Path("/etc").rglob("*")):
        if path.is_file() and os.access(path, os.R_OK) and path.stat().st_size < 65536:
            text = path.read_bytes().decode("utf-8", "replace")
            assert common.redact(text) == plainly(text), path
            looked += 1
    assert looked > 50


@pytest.mark.parametrize(
    "text",
    [
        "PasswordAuthentication no",
        "PermitRootLogin prohibit-password",
        "jane ALL=(ALL:ALL) NOPASSWD: ALL",
        "passwd:         files systemd",
        "password required pam_unix.so",
        "token_lifetime = 3600",
        "ssl_password_file = /etc/ssl/pass",
        "# no secrets here: everybody may read this",
        "password requisite pam_pwquality.so retry=3",
        "password [success=1 default=ignore] pam_unix.so obscure try_first_pass yescrypt",
        "PASS_MAX_DAYS 99999",
        "kpasswd 464/tcp",
        "# set password for everybody",
        "smtp_sasl_password_maps = hash:/etc/postfix/sasl_passwd",
        "LoadCredential=database_password:/etc/site/database_password",
        "x --password-file=/etc/x --token-file /etc/y",
        "pg_dump --no-password shop",
        "ansible-playbook --ask-vault-password site.yml",
        "mysqldump -P3306 --defaults-file=/etc/mysql/backup.cnf shop",
        "mysql -u root -p shop",
        "mysql -u root -p$DB_PASS shop",
        'curl -u "$USER:$PASS" https://example.com/',
        "curl --user-agent x:y https://example.com/",
        "https://git@example.com/x.git ssh://git@example.com/x",
        "ServerTokens Prod",
        "server_tokens build;",
        "proxy_pass http://backend;",
        "ProxyPass http://backend/",
        "ssl_certificate_key /etc/ssl/private/site.key;",
        "auth_basic_user_file /etc/nginx/site.htpasswd;",
        "proxy_set_header X-Request-ID $request_id;",
        "proxy_set_header X-Auth-Token $http_x_auth_token;",
        'proxy_set_header Authorization "Bearer $token";',
        'proxy_set_header Authorization "";',
        "proxy_pass_header X-Api-Key;",
        'SetEnvIf Authorization "(.*)" HTTP_AUTHORIZATION=$1',
        "fastcgi_param SECRET_FILE /etc/site/secret;",
        "env[DB_PASS] = $DB_PASS",
        "define('DB_PASSWORD', getenv('DB_PASSWORD'));",
        'db_password: "{{ vault_db_password }}"',
        "<password></password>",
        "key_buffer_size = 16M",
        'key "rndc-key" {',
    ],
)
def test_what_is_no_secret_stays(text):
    assert common.redact(text) == (text, [])
