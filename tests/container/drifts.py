"""The catalogue of drifts: ways in which a host can depart from production, and which checks fail.

A drift is one shell command, run as root; another command undoes it. `expected` names the checks
that must fail: exactly those, and at least once each. Names may be shell patterns.
"""

from __future__ import annotations

from tests.container.drifts_files import FILES
from tests.container.drifts_servers import SERVERS
from tests.container.drifts_system import HOST
from tests.container.drifts_units import UNITS

DRIFTS = (*UNITS, *SERVERS, *FILES, *HOST)
