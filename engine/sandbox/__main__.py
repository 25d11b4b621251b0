"""`python -m engine.sandbox FOLDER SETTINGS`: the background process; `labctl sandbox start` runs it."""

import json
import sys
from pathlib import Path

from engine.sandbox.daemon import main
from engine.sandbox.settings import Settings

main(Path(sys.argv[1]), Settings.of(json.loads(sys.argv[2])))
