"""The package behind the book, small enough to read from end to end.

In this order the modules teach the theory: data, noise, kernels, networks, architectures, objectives, training, solvers,
samplers, fewstep, generators, specs, weights, zoo, closed_form, edits, descriptor, scores, residuals, geometry, alignment,
lineup, systems, profiles, keeper, paper, claims, verdicts, tables, plots, system_plots, notebook, run; parallel is a tool.
"""
