"""Kill a command at a moment that its own progress names."""

import re
import subprocess
import threading
import time


def kill_when(
    process: subprocess.Popen[str], pattern: str, *, delay_s: float = 0.0, timeout_s: float = 180
) -> list[str]:
    """SIGKILL `process` `delay_s` after a line of its standard error matches; return the lines until then.

    Fails when the process ends before such a line.
    """
    assert process.stderr is not None
    assert process.stdout is not None
    seen: list[str] = []
    timer = threading.Timer(timeout_s, process.kill)
    timer.start()
    try:
        for line in process.stderr:
            seen.append(line.rstrip())
            if re.search(pattern, line):
                time.sleep(delay_s)
                process.kill()
                break
        else:
            raise AssertionError(f"no line matched {pattern!r}:\n" + "\n".join(seen))
    finally:
        timer.cancel()
        process.wait()
        process.stdout.close()
        process.stderr.close()
    return seen
