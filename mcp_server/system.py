"""The state of the machine, without anything that identifies it: no host, user or path names, no environment."""

import platform
import time
from pathlib import Path
from typing import Annotated

from pydantic import Field

from mcp_server.answer import Answer
from mcp_server.phrases import counted

_CPU_SAMPLE_S = 0.1
_GIB = 1024**3


class SystemInfo(Answer):
    """The state of the machine at one moment."""

    operating_system: str
    release: str
    architecture: str
    cpu_count: int
    cpu_percent: Annotated[float, Field(description=f"over the last {_CPU_SAMPLE_S} s, all processors together")]
    load_average: Annotated[list[float], Field(description="runnable processes over 1, 5 and 15 minutes")]
    memory_total_bytes: int
    memory_available_bytes: int
    memory_percent: Annotated[float, Field(description="in use")]
    disk_total_bytes: int
    disk_free_bytes: int
    disk_percent: Annotated[float, Field(description="in use")]
    uptime_s: int

    def sentence(self) -> str:
        """Every figure on one line."""
        load = ", ".join(f"{figure:.2f}" for figure in self.load_average)
        return (
            f"{self.operating_system} {self.release} on {self.architecture}: "
            f"{counted(self.cpu_count, 'processor')} at {self.cpu_percent:.0f} % (load {load}), "
            f"memory {self.memory_percent:.0f} % used ({_gib(self.memory_available_bytes)} of "
            f"{_gib(self.memory_total_bytes)} available), "
            f"disk {self.disk_percent:.0f} % used ({_gib(self.disk_free_bytes)} of "
            f"{_gib(self.disk_total_bytes)} free), up {_duration(self.uptime_s)}."
        )


def system_info() -> SystemInfo:
    """Measure the machine; takes a tenth of a second to watch the processors."""
    import psutil  # only this tool needs it, and it takes 20 ms to import

    memory = psutil.virtual_memory()
    disk = psutil.disk_usage(Path.cwd().anchor)
    return SystemInfo(
        operating_system=platform.system(),
        release=platform.release(),
        architecture=platform.machine(),
        cpu_count=psutil.cpu_count() or 1,
        cpu_percent=psutil.cpu_percent(interval=_CPU_SAMPLE_S),
        load_average=[round(figure, 2) for figure in psutil.getloadavg()],
        memory_total_bytes=memory.total,
        memory_available_bytes=memory.available,
        memory_percent=memory.percent,
        disk_total_bytes=disk.total,
        disk_free_bytes=disk.free,
        disk_percent=disk.percent,
        uptime_s=int(time.time() - psutil.boot_time()),
    )


def _gib(size_bytes: int) -> str:
    return f"{size_bytes / _GIB:.1f} GiB"


def _duration(seconds: int) -> str:
    minutes = seconds // 60
    days, hours = minutes // 1440, minutes // 60 % 24
    if days:
        return f"{counted(days, 'day')} {counted(hours, 'hour')}"
    return f"{counted(hours, 'hour')} {counted(minutes % 60, 'minute')}"
