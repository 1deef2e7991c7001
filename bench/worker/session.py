"""Keras in a run's process: settings that no record would show are pinned, then the backend gets device and threads."""

from __future__ import annotations

import importlib
import sys

import keras

from bench.catalog import dtypes, tf32
from bench.catalog.dtypes import Dtype
from bench.core.case import Case
from bench.worker.backends import BackendAdapter, load_backend
from bench.worker.iterators import leave_untuned


def preload(backend: str) -> None:
    """Import the backend's own module; importing this one has imported Keras. No device is initialised."""
    load_backend(backend)


def start_session(case: Case) -> BackendAdapter:
    """Set this process up for one case, before anything is built.

    Raises:
        FailedRun: the backend does not see the device.
    """
    pin_keras(dtypes.find(case.dtype))
    if case.backend != "tensorflow":
        _leave_tensorflow_out()
    backend = load_backend(case.backend)
    backend.configure(case.device, case.threads)
    if case.deterministic:
        backend.make_deterministic()
    if case.steady:
        leave_untuned()
    if case.tf32 != tf32.DEFAULT:
        backend.allow_tf32(case.tf32 == "on")
    return backend


def pin_keras(dtype: Dtype) -> None:
    """Set what `~/.keras/keras.json` and KERAS_MAX_* may have set otherwise for this user, and no record would show."""
    keras.config.set_floatx(dtype.variables)
    keras.config.set_dtype_policy(dtype.policy)
    keras.config.set_epsilon(1e-7)
    keras.config.set_image_data_format("channels_last")
    # meant for debugging: they would end `fit` early without a word; earlier releases of Keras 3 have neither
    for name in ("set_max_epochs", "set_max_steps_per_epoch"):
        if set_limit := getattr(keras.config, name, None):
            set_limit(None)


def _leave_tensorflow_out() -> None:
    """Keep Keras from importing TensorFlow beside another backend, where it is installed.

    It would, to seed it too, and to ask of values that it serialises whether they are TensorFlow's: two seconds and
    480 MB of each run, for nothing.
    """
    if "tensorflow" not in sys.modules:
        importlib.import_module("keras.src.utils.module_utils").tensorflow._available = False
