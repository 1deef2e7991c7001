"""What there is to compare: cells, networks, kernels, number formats, runtimes, tasks; and what can run where."""
