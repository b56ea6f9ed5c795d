"""The live display on a real terminal."""

import os
import pty
import re
import subprocess

from conftest import COMMAND


def on_a_terminal(command, folder):
    """What a person would see in an 80-column terminal, escape codes and all."""
    leader, follower = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80", "LINES": "24"}
    process = subprocess.Popen(command, cwd=folder, stderr=follower, stdout=subprocess.DEVNULL, env=environment)
    os.close(follower)
    seen = b""
    try:
        while part := os.read(leader, 4096):
            seen += part
    except OSError:  # the terminal's other end is closed
        pass
    os.close(leader)
    assert process.wait() == 0, seen
    return seen.decode()


def test_a_terminal_shows_step_losses_speed_and_time_left_in_one_line(tiny_recipe, tmp_path):
    recipe = tiny_recipe(budget={"steps": 300}, logging={"every_steps": 20}, validation={"every_steps": 40})
    seen = on_a_terminal([COMMAND, "pretrain", "-r", recipe], tmp_path)
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", seen)
    line = r"\d+%  step \d+  loss \d\.\d{3} \(validation \d\.\d{3}\) [\d,]+ tokens/s \d:\d\d:\d\d"
    assert re.search(line, plain), plain[-2000:]
    assert "parameters" in plain
