import sys

from about.cli import main

sys.exit(main())
