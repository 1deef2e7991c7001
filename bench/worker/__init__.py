"""All that touches Keras. Runs only in a process of its own: nothing outside this package imports it.

`python -m bench.worker` is the server that the harness starts (`bench.run.server`); it imports the backend once and
forks a child for each run.
"""
