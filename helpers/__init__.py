"""The package behind the book, small enough to read from end to end.

In this order the modules teach the theory: data, noise, kernels, networks, architectures, objectives, training, solvers,
samplers, fewstep, generators, classifier, partial, specs, weights, zoo, closed_form, operators, inverse,
gaussian_posterior, edits, descriptor, scores, residuals, geometry, alignment, lineup, by_class, systems, conditional,
finetuning, profiles, keeper, paper, claims, verdicts, tables, plots, system_plots, score_plots, notebook, run; parallel is a
tool.
"""
