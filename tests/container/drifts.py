"""The catalogue of drifts: ways in which a host departs from production, and what must notice.

A drift is one shell command, run as root; another one takes it back. `expected` names the checks
that must fail, exactly those and each of them at least once: names, or patterns as in a shell.
"""

from __future__ import annotations

from tests.container.drifts_files import FILES
from tests.container.drifts_servers import SERVERS
from tests.container.drifts_system import HOST
from tests.container.drifts_units import UNITS

DRIFTS = (*UNITS, *SERVERS, *FILES, *HOST)
