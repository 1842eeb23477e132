import getpass
import os
import platform
import socket
import time
from pathlib import Path

import psutil

from mcp_server.system import system_info


def test_the_figures_are_those_of_this_machine() -> None:
    info = system_info()
    assert info.operating_system == platform.system()
    assert info.cpu_count == psutil.cpu_count()
    assert info.memory_total_bytes == psutil.virtual_memory().total
    assert 0 < info.memory_available_bytes <= info.memory_total_bytes
    assert 0 < info.disk_free_bytes <= info.disk_total_bytes
    assert abs(info.uptime_s - (time.time() - psutil.boot_time())) < 60
    assert len(info.load_average) == 3


def test_the_sentence_tells_nobody_whose_machine_it_is() -> None:
    info = system_info()
    told = info.sentence() + info.model_dump_json()
    assert "processor" in told and "memory" in told and "disk" in told and ", up " in told
    private = {socket.gethostname(), getpass.getuser(), str(Path.cwd()), *os.environ.values()}
    assert [value for value in private if len(value) > 3 and value in told] == []
