"""``python -m assay`` is the program ``assay``."""

from assay.cli.app import main

main()
