"""`python -m ancestral`."""

import sys

from ancestral.cli.main import main

sys.exit(main())
