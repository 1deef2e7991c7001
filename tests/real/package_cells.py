"""Cells of packages that nobody here wrote, unmodified, each through a factory of three lines; and a model of each."""

from __future__ import annotations

from functools import partial
from typing import Any

import keras

STEPS = 16


def cfc(units: int, activation: str, return_sequences: bool, name: str) -> keras.Layer:
    from ncps.keras import CfC

    return CfC(units, return_sequences=return_sequences, name=name)


def ltc(units: int, activation: str, return_sequences: bool, name: str) -> keras.Layer:
    from ncps.keras import LTC

    return LTC(units, return_sequences=return_sequences, name=name)


def lmu(units: int, activation: str, return_sequences: bool, name: str) -> keras.Layer:
    from keras_lmu import LMU

    cell = keras.layers.SimpleRNNCell(units, activation=activation)
    return LMU(1, 4, 28, hidden_cell=cell, return_sequences=return_sequences, name=name)


def min_gru(units: int, activation: str, return_sequences: bool, name: str) -> keras.Layer:
    from mingru_keras import MinGRU

    return MinGRU(units, name=name)


def skip_recurrent(units: int, activation: str, return_sequences: bool, name: str) -> keras.Layer:
    from bayesflow.networks import TimeSeriesNetwork

    return TimeSeriesNetwork(units, recurrent_dim=units, recurrent_type="lstm", skip_steps=2, name=name)


def _model(factory: Any) -> keras.Model:
    inputs = keras.Input((STEPS, 3))
    x = factory(4, "tanh", True, "cell")(inputs)
    return keras.Model(inputs, keras.layers.Dense(1)(keras.layers.Flatten()(x)))


model_of_cfc, model_of_ltc, model_of_lmu, model_of_min_gru, model_of_skip_recurrent = (
    partial(_model, factory) for factory in (cfc, ltc, lmu, min_gru, skip_recurrent)
)
