import json
from pathlib import Path

from devvm.cli.host.config import settings
from devvm.config import Config

REPOSITORY = Path(__file__).parents[4]


def _write(tmp_path, text):
    path = tmp_path / ".config" / "devvm" / "config.toml"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    return path


def test_every_setting_with_its_source(cli, tmp_path):
    path = _write(tmp_path, "uri = 'test:///default'\n[vm]\ncpus = 4\n")
    data = cli("config", "show", "--json").json
    found = {s["key"]: s for s in data["settings"]}
    assert data["files"] == [str(path)]
    assert found["vm.cpus"]["value"] == 4
    assert found["vm.cpus"]["source"] == str(path)
    assert found["vm.memory_mib"]["source"] == "default"
    assert found["uri"]["source"] == str(path)
    assert set(found["uri"]) == {"key", "value", "source", "description"}
    text = cli("config", "show").stdout
    assert "vm.cpus" in text
    assert str(path) in text


def test_an_unknown_key_names_file_and_key(cli, tmp_path):
    path = _write(tmp_path, "[vm]\ncpu = 4\n")
    result = cli("config", "show")
    assert result.code == 2
    assert f"Error: {path}: vm.cpu: unknown key" in result.stderr
    assert "cpus" in result.stderr


def test_the_documentation_has_every_setting():
    text = (REPOSITORY / "docs" / "configuration.md").read_text()
    for s in settings(Config(), []):
        row = f"| `{s.key}` | `{json.dumps(s.value)}` | {s.description} |"
        assert row in text, f"docs/configuration.md lacks the row\n{row}"
