"""Take a cloud down when its owner is gone: `python -m tests.cloud.watchdog DIRECTORY`.

The owner holds the other end of the standard input, and ends this process when it has taken the
cloud down itself. So standard input ends only when the owner was killed.
"""

import sys
from pathlib import Path

from tests.cloud.teardown import down

if __name__ == "__main__":
    sys.stdin.read()
    down(Path(sys.argv[1]))
