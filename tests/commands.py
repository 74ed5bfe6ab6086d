"""What tests of the commands share: where the project is."""

import pathlib

ROOT = pathlib.Path(__file__).resolve().parent.parent
