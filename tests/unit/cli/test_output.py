"""Progress and tables as people read them."""

import os
import subprocess
import sys


def test_a_reader_of_progress_who_leaves_does_not_stop_the_work() -> None:
    program = (
        "from mlops_sdk.cli.output import reporter\n"
        "from mlops_sdk.rollout.progress import Note\n"
        "report = reporter(quiet=False)\n"
        "for number in range(3):\n"
        "    report(Note(str(number)))\n"
        "print('done')\n"
    )
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=writing, text=True, check=False
    )
    os.close(writing)

    assert (done.returncode, done.stdout) == (0, "done\n")
