"""The paper's numbers: complete, in range, and consistent with what the fact sheet derives from them."""

import pytest

from helpers.report import paper


def test_every_curve_has_a_value_for_every_size():
    for curves in (paper.RP, paper.GL, paper.RP_OPTIMAL):
        for values in curves.values():
            assert len(values) == len(paper.SIZES) and all(0 <= v <= 1 for v in values)


def test_the_matrix_of_published_models_has_the_means_of_its_fact_sheet():
    """RP above the diagonal: mean .818, from .70 (U-ViT, CT) to .91 (CT, progressive); MAE below: mean .820."""
    k = len(paper.SYSTEMS)
    above = {(i, j): paper.SIMILARITY[i][j] for i in range(k) for j in range(i + 1, k)}
    below = [paper.SIMILARITY[j][i] for i, j in above]
    assert sum(above.values()) / len(above) == pytest.approx(0.818, abs=5e-4)
    assert sum(below) / len(below) == pytest.approx(0.820, abs=5e-4)
    least, most = min(above, key=above.get), max(above, key=above.get)
    assert [paper.SYSTEMS[i] for i in least] == ["UViT", "CT"] and above[least] == 0.70
    assert [paper.SYSTEMS[i] for i in most] == ["CT", "Progressivev1"] and above[most] == 0.91


def test_some_rows_of_the_matrix_are_symmetric_and_in_the_order_that_was_asked_for():
    found = paper.rp_of([5, 4, 0])
    assert found == [[1, .70, .81], [.70, 1, .81], [.81, .81, 1]]
    assert paper.rp_of([0, 1])[1][0] == .89
