"""Ansible callback that writes the events of a playbook run to a file, as JSON lines.

ansible-playbook loads it by path; devvm never imports it, and it imports nothing from devvm. It is
the *stdout* callback on purpose: Ansible calls that one before all others, so an event is in the
file before its line is in the output. Whoever follows the output can read the events without a
thread or a delay. It prints what the default callback prints.

One event per line; its key `event` is one of:

- `task`: a task starts: `role` (or null), `task`, `path` (`file:line`).
- `result`: a task ended: the same keys, `status` (`ok`, `changed`, `skipped`, `failed`, `ignored`,
  `unreachable`), `seconds`, and `message` for the last three. With `no_log`, the message doesn't
  quote the task's output.
- `retry`: a task with `until` is retried: the same keys, `attempt`, `retries`.
- `end`: the run ended: `ok` and `changed`, as Ansible counts them.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible.plugins.callback.default import CallbackModule as Default

if TYPE_CHECKING:
    from ansible.executor.stats import AggregateStats
    from ansible.executor.task_result import CallbackTaskResult
    from ansible.playbook.task import Task

DOCUMENTATION = """
    name: devvm_events
    type: stdout
    short_description: the default output, and events as JSON lines in $DEVVM_EVENTS
    description:
        - Writes an event for each task and result to the file that DEVVM_EVENTS names.
    extends_documentation_fragment:
      - default_callback
      - result_format_callback
    requirements:
      - set as stdout in configuration
"""

_HIDDEN = "the output is hidden, because the task handles secrets (no_log)"
#: Lines of a tool's output that a message quotes, from the end, where the cause is.
_TAIL_LINES = 12


class CallbackModule(Default):  # type: ignore[misc] # Ansible is untyped
    """The default callback, which also writes events."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "devvm_events"

    def __init__(self) -> None:
        super().__init__()
        self._events = Path(os.environ["DEVVM_EVENTS"])
        self._started = time.monotonic()

    def v2_playbook_on_task_start(self, task: Task, is_conditional: object) -> None:
        """Write a `task` event."""
        self._begin(task)
        super().v2_playbook_on_task_start(task, is_conditional)

    def v2_playbook_on_handler_task_start(self, task: Task) -> None:
        """Write a `task` event for a handler."""
        self._begin(task)
        super().v2_playbook_on_handler_task_start(task)

    def v2_runner_on_ok(self, result: CallbackTaskResult) -> None:
        """Write the `result` of a successful task."""
        self._end(result, "changed" if result.is_changed() else "ok")
        super().v2_runner_on_ok(result)

    def v2_runner_on_skipped(self, result: CallbackTaskResult) -> None:
        """Write the `result` of a skipped task."""
        self._end(result, "skipped")
        super().v2_runner_on_skipped(result)

    def v2_runner_on_failed(self, result: CallbackTaskResult, ignore_errors: object = None) -> None:
        """Write the `result` of a failed task; the run may go on (`ignore_errors`, `rescue`)."""
        status = "ignored" if ignore_errors else "failed"
        self._end(result, status, message=failure_message(result.result))
        super().v2_runner_on_failed(result, ignore_errors)

    def v2_runner_on_unreachable(self, result: CallbackTaskResult) -> None:
        """Write the `result` for an unreachable machine."""
        self._end(result, "unreachable", message=failure_message(result.result))
        super().v2_runner_on_unreachable(result)

    def v2_runner_retry(self, result: CallbackTaskResult) -> None:
        """Write a `retry` event."""
        attempt, retries = result.result.get("attempts"), result.result.get("retries")
        self._emit("retry", {**_identity(result.task), "attempt": attempt, "retries": retries})
        super().v2_runner_retry(result)

    def v2_playbook_on_stats(self, stats: AggregateStats) -> None:
        """Write the `end` event."""
        hosts = [stats.summarize(host) for host in stats.processed]
        self._emit("end", {key: sum(h[key] for h in hosts) for key in ("ok", "changed")})
        super().v2_playbook_on_stats(stats)

    def _begin(self, task: Task) -> None:
        self._started = time.monotonic()
        self._emit("task", _identity(task))

    def _end(self, result: CallbackTaskResult, status: str, **more: str) -> None:
        seconds = round(time.monotonic() - self._started, 3)
        self._emit(
            "result", {**_identity(result.task), "status": status, "seconds": seconds, **more}
        )

    def _emit(self, event: str, data: Mapping[str, object]) -> None:
        line = json.dumps({"event": event, **data}, default=str)
        with self._events.open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")


def _identity(task: Task) -> dict[str, Any]:
    role = task._role.get_name() if task._role else None
    return {"role": role, "task": str(task.name or task.action).strip(), "path": task.get_path()}


def failure_message(result: Mapping[str, Any]) -> str:
    """Describe a module's failure, without what `no_log` hides.

    First comes the module's own message, then the end of its command's output; for a loop, both
    for each item that failed.
    """
    if "censored" in result or result.get("_ansible_no_log"):
        return _HIDDEN
    items = [item for item in result.get("results") or () if _failed(item)]
    if items:
        return "\n".join(f"{_label(item)}: {failure_message(item)}" for item in items)
    parts = [str(result.get("msg") or "").strip()]
    for stream in ("stderr", "module_stderr", "stdout", "module_stdout"):
        tail = _tail(str(result.get(stream) or ""))
        if tail and tail not in parts[0]:
            parts.append(tail)
            break  # standard output is used only if there is no standard error
    errors = result.get("argument_errors") or ()  # from validate_argument_spec
    parts.extend(str(e) for e in errors if str(e) not in parts[0])
    return "\n".join(part for part in parts if part) or "the module gave no reason"


def _failed(item: object) -> bool:
    keys = ("failed", "failed_when_result", "unreachable")
    return isinstance(item, Mapping) and any(item.get(key) for key in keys)


def _label(item: Mapping[str, Any]) -> str:
    if "censored" in item or item.get("_ansible_no_log"):
        return "item"
    return str(item.get("_ansible_item_label", item.get("item", "item")))


def _tail(text: str) -> str:
    return "\n".join(text.strip().splitlines()[-_TAIL_LINES:])
