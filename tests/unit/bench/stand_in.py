"""A checkout whose bin/devvm prints what devvm prints, and makes no VMs.

It keeps the names of its VMs in a folder, so that tests see what is left.
"""

import json
import sys
import textwrap

from tests.unit.bench.recorded import CHECKED, create, printed

_PROGRAM = """\
#!{python}
import json, sys, time
from pathlib import Path

folder, words = Path({folder!r}), sys.argv[1:]
answers = json.loads((folder / "answers.json").read_text())
with (folder / "typed").open("a") as typed:
    typed.write(" ".join(words) + "\\n")
verb, name = words[0], next((w for w in words[1:] if not w.startswith("-")), "")
vm = folder / "vms" / name
if "--help" in words:
    print(answers["help"])
    sys.exit()
pool = folder / "pool"
if verb == "pool" and words[1] == "set":
    pool.write_text(words[2])
wanted = int(pool.read_text()) if pool.exists() else 0
if "fail " + verb in answers:
    print(json.dumps({{"error": answers["fail " + verb]}}))
    sys.exit(1)
if verb == "create":
    vm.touch()
    if answers["hanging"] == verb:
        time.sleep(600)
elif verb == "destroy":
    vm.unlink(missing_ok=True)
cold = "--cold" in words or not answers["warm"]
if "--pool" in words:
    print(json.dumps({{"pool": {{"wanted": {{"R": wanted}} if wanted else {{}}}}}}))
    sys.exit()
how = "spare" if wanted else "cold" if cold else "warm"
print(json.dumps(answers.get(f"{{verb}} {{how}}", answers.get(verb, {{}}))))
"""


def checkout(folder, *, warm=True, cold_option=True, hanging=None, **failing):
    """Make one; return the folders of the checkout and of its state.

    `hanging` is a verb that does not end by itself.
    """
    state = folder / "state"
    (state / "vms").mkdir(parents=True)
    vm = {"vm": {"name": "bench-1", "fqdn": "bench-1.devvm.test"}, "ca_certificate": "/nowhere"}
    disks = [{"role": "root", "used_bytes": 30 * 1024**2, "path": "/nowhere"},
             {"role": "devvm-data", "used_bytes": 20 * 1024**2, "path": "/nowhere"}]  # fmt: skip
    restored = printed("create bench-1", [("restore", 3.0), ("verify", 8.0)])
    taken = printed("create bench-3", [("take", 2.0), ("verify", 8.0)])
    answers = {
        "help": "--cold  Boot it. --pool  Show it." if cold_option else "",
        "warm": warm,
        "hanging": hanging,
        "box": {"release": "2026.11.23-1a2b3c4d5e6f"},
        "create cold": {**create(), **vm},
        "create warm": {**restored, **vm},
        "create spare": {**taken, **vm},
        "rebuild": {**restored, **vm},
        "stop": printed("stop bench-1", [("stop", 6.0)]),
        "start": printed("start bench-1", [("network", 0.1), ("boot", 30.0)]),
        "verify": CHECKED,
        "show": {"disks": disks},
        **{f"fail {verb}": {"brief": brief, "details": None} for verb, brief in failing.items()},
    }
    (state / "answers.json").write_text(json.dumps(answers))
    program = folder / "checkout" / "bin" / "devvm"
    program.parent.mkdir(parents=True)
    text = textwrap.dedent(_PROGRAM).format(python=sys.executable, folder=str(state))
    program.write_text(text)
    program.chmod(0o755)
    return folder / "checkout", state
