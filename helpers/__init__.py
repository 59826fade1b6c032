"""The package behind the book, small enough to read from end to end.

In this order the modules teach the theory: data, noise, kernels, networks, objectives, training, weights, zoo,
closed_form, samplers, edits, descriptor, scores, profiles, keeper, paper, claims, tables, plots, notebook, run.
"""
