"""A benchmark harness for recurrent cells in Keras 3. See README.md; `bench --help` lists the commands."""

__version__ = "0.1.0"
