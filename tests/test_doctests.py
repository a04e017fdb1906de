"""Every example in a docstring runs and gives what it shows."""

import doctest
import importlib
import pkgutil
from importlib.util import find_spec

import pytest

import metastable

# Triton is not to be had everywhere.
LEFT_OUT = {"metastable.extraction.triton_rows"} if find_spec("triton") is None else set()
MODULES = [
    module.name for module in pkgutil.walk_packages(metastable.__path__, "metastable.") if module.name not in LEFT_OUT
]


def examples(name):
    found = doctest.DocTestFinder(exclude_empty=True).find(importlib.import_module(name))
    return [test for test in found if test.examples]


@pytest.mark.parametrize("name", [name for name in MODULES if examples(name)])
def test_examples_of_the_module_run(name):
    runner = doctest.DocTestRunner()
    for test in examples(name):
        runner.run(test)
    assert runner.summarize(verbose=False).failed == 0


def test_the_public_functions_of_the_statistics_have_examples():
    documented = {test.name.rpartition(".")[2] for name in MODULES if ".stats" in name for test in examples(name)}
    functions = {
        "permutation_test", "permutation_test_contrast", "fit_mixed_models", "fit_joint_model", "adjust_p_values",
        "hierarchical_test", "hedges_g", "mean_difference", "bootstrap_g", "probability_of_superiority",
        "jzs_bayes_factor", "equivalence_test", "verdicts", "sensitivity", "balance_table", "adjustment_table",
        "calibrate", "analyse", "transform_counts", "null_proportion",
    }  # fmt: skip
    assert functions <= set(metastable.stats.__all__)
    assert functions <= documented, sorted(functions - documented)
