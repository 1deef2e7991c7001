"""The software that a run uses: Python, Keras, the backend, the libraries with its kernels, and their settings.

Read from the packages' metadata alone: nothing here imports a framework.
"""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple, Self

from bench.catalog import backends
from bench.catalog.backends import BACKENDS, Backend
from bench.core.case import Case
from bench.host.fingerprint import FingerprintedRecord

# Every setting of these libraries, but for what they print, is about threads, kernels or number formats.
_SETTING_PREFIXES = ("OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_", "VECLIB_", "ONEDNN_", "DNNL_")
_PRINT_ONLY = re.compile("VERBOSE|DISPLAY|SETTINGS|WARNINGS")

# The frameworks have hundreds; these change which kernel runs, how many threads it gets, its arithmetic, or what memory
# and compiling cost. Left out: logging, KERAS_BACKEND, which is a field of its own, and what the worker pins itself.
# Which cards are visible decides which kernel Keras picks; another allocator changes the time of every large array.
_SETTINGS = frozenset({
    "CUDA_VISIBLE_DEVICES", "CUDA_LAUNCH_BLOCKING", "CUDA_DEVICE_MAX_CONNECTIONS",
    "CUBLAS_WORKSPACE_CONFIG", "NVIDIA_TF32_OVERRIDE", "LD_PRELOAD", "MALLOC_ARENA_MAX", "GLIBC_TUNABLES",
    "KERAS_NNX_ENABLED", "KERAS_TORCH_DEVICE", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS",
    "TF_ENABLE_ONEDNN_OPTS", "TF_SET_ONEDNN_FPMATH_MODE", "TF_ONEDNN_USE_SYSTEM_ALLOCATOR", "TF_XLA_FLAGS",
    "TF_DETERMINISTIC_OPS", "TF_CUDNN_DETERMINISTIC", "TF_CUDNN_USE_AUTOTUNE", "TF_GPU_ALLOCATOR",
    "TF_FORCE_GPU_ALLOW_GROWTH",
    "TF_GPU_THREAD_MODE", "TF_USE_LEGACY_KERAS", "XLA_FLAGS", "XLA_PYTHON_CLIENT_PREALLOCATE",
    "XLA_PYTHON_CLIENT_ALLOCATOR", "JAX_ENABLE_X64", "JAX_DEFAULT_MATMUL_PRECISION", "JAX_DISABLE_JIT",
    "JAX_PLATFORMS", "JAX_NUM_CPU_DEVICES", "JAX_COMPILATION_CACHE_DIR", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
    "PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF", "ATEN_CPU_CAPABILITY",
})  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Software(FingerprintedRecord):
    """The programs and settings that a run uses. Must agree too, unless the difference is what is being asked."""

    python: str
    keras: str | None
    backend: str
    backend_version: str | None
    """With the distribution's name where it is not the usual one: "2.21.0 (tensorflow-cpu)"."""
    numpy: str | None
    libraries: tuple[tuple[str, str], ...] = ()
    """Distributions beside the backend that hold its kernels, and their versions."""
    settings: tuple[tuple[str, str], ...] = ()
    """Environment variables that are set and that change speed or numbers; folders are cut from their values."""

    @classmethod
    def from_json(cls, text: str) -> Self:
        facts = json.loads(text)
        pairs = {name: tuple((key, value) for key, value in facts[name]) for name in ("libraries", "settings")}
        return cls(**facts | pairs)


class SoftwareKey(NamedTuple):
    """What of a case the software of its run depends on."""

    backend: str
    env: str
    """As the axis `env` has it."""

    @classmethod
    def of(cls, case: Case) -> Self:
        """The key of a case."""
        return cls(case.backend, case.env)


def read_software(
    backend: str,
    environ: Mapping[str, str] = os.environ,
    variables: Mapping[str, str] = MappingProxyType({}),
) -> Software:
    """The software that a run on `backend` would use in this Python environment, from the packages' metadata alone.

    Args:
        backend: Keras's.
        environ: the harness's environment, of which what may change speed or numbers counts.
        variables: those that are set for the run alone, which all count.
    """
    known = backends.find(backend)
    libraries = ((name, _version(name)) for name in known.libraries)
    of_run = {**effective_settings(environ), **variables}
    return Software(
        python=platform.python_version(),
        keras=_version("keras") or _version("keras-nightly"),
        backend=backend,
        backend_version=_backend_version(known),
        numpy=_version("numpy"),
        libraries=tuple((name, version) for name, version in libraries if version is not None),
        settings=tuple((name, _without_folders(of_run[name])) for name in sorted(of_run)),
    )


def effective_settings(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The variables of an environment that may change speed or numbers, with their whole values."""
    return {
        name: value
        for name, value in environ.items()
        if (name in _SETTINGS or name.startswith(_SETTING_PREFIXES)) and not _PRINT_ONLY.search(name)
    }


def installed_backends() -> dict[str, str | None]:
    """Each of Keras's backends: None where it is installed, else the reason why it cannot be used, with the way out."""
    problems: dict[str, str | None] = {}
    for backend in BACKENDS.values():
        what = f"'.[{backend.extra}]'" if backend.extra else "."
        problems[backend.name] = (
            None
            if _backend_version(backend)
            else f"{backend.name} is not installed in this Python environment: `pip install -e {what}` in the checkout "
            "adds it"
        )
    return problems


def _version(distribution: str) -> str | None:
    from importlib import metadata  # slow to import, and most commands ask for no version

    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _backend_version(backend: Backend) -> str | None:
    for name in backend.distributions:
        if version := _version(name):
            return version if name == backend.package else f"{version} ({name})"
    return None


def _without_folders(value: str) -> str:
    """Records travel, and a folder may hold a person's name: a path is cut to its last part."""
    return re.sub(r"[^\s:,;=]*/", "", value)
