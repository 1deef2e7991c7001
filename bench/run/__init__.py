"""From a plan to processes: servers, runs, probes, the lock of the machine."""
