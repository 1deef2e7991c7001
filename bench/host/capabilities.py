"""What this host offers: backends and runtimes of its Python environment, and the devices that processes may use."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
import sysconfig
from pathlib import Path

from bench.catalog.runtimes import RUNTIMES
from bench.catalog.support import Capabilities
from bench.host import hardware, software
from bench.host.hardware import Machine


def read_capabilities(machine: Machine) -> Capabilities:
    """What can be used on this machine, with CUDA's variables as they are set for this process."""
    environ = dict(os.environ)
    return Capabilities(
        backends=software.installed_backends(),
        runtimes=installed_runtimes(),
        device_problem=lambda device: hardware.device_problem(device, machine, environ),
        compile_problem=compile_problem,
    )


def compile_problem(device: str) -> str | None:
    """Why torch.compile can't make code for a device here, as a sentence without its full stop; None where it can.

    Inductor compiles C++ against Python's headers, also for what surrounds the code of a GPU, which Triton makes.
    """
    if device != "cpu" and importlib.util.find_spec("triton") is None:
        return "on a GPU torch.compile needs Triton, which torch's builds for CUDA bring: `pip install triton` adds it"
    compiler = os.environ.get("CXX") or ("clang++" if sys.platform == "darwin" else "g++")
    if shutil.which(compiler) is None:
        return f"torch.compile needs a C++ compiler, and {compiler} is not here: install it, or name one in CXX"
    headers = Path(sysconfig.get_path("include"))
    if not (headers / "Python.h").is_file():
        return f"torch.compile needs Python's headers, and {headers} has no Python.h: install python3-dev"
    return None


def installed_runtimes() -> dict[str, str | None]:
    """Each runtime: None where it is installed, else the reason why it cannot be used, with the way out."""
    problems: dict[str, str | None] = {}
    for runtime in RUNTIMES.values():
        missing = [module for module in runtime.modules if importlib.util.find_spec(module) is None]
        problems[runtime.name] = (
            f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not installed in this Python environment: "
            f"`pip install -e '.[{runtime.extra}]'` in the checkout adds {'it' if len(missing) == 1 else 'them'}"
            if missing
            else None
        )
    return problems
