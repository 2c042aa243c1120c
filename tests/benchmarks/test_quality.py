"""Tables of what compute types change."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.page_part import write_part
from benchmarks.quality import CTRANSLATE2, compare, cosine, page


def test_agreement_counts_decided_tokens_apart() -> None:
    expected = np.array([[4.0, 0.0, 1.0], [2.0, 1.9, 0.0]], dtype=np.float32)
    other = expected + np.array([[0.0, 0.0, 0.0], [0.0, 0.3, 0.0]], dtype=np.float32)
    features = {"float32": np.eye(2, 3), "int8": 2 * np.eye(2, 3)}
    result = compare(features, {"float32": expected, "int8": other, CTRANSLATE2: expected + 0.5})
    assert result["noise"] == pytest.approx(0.5)
    assert (result["tokens"], result["decided"]) == (2, 1)
    entry = result["compute_types"]["int8"]
    assert (entry["same_token"], entry["same_token_where_decided"]) == (0.5, 1.0)
    assert (entry["cosine"], entry["least"]) == (pytest.approx(1.0), pytest.approx(1.0))
    assert entry["logits_rms"] == pytest.approx(0.3 / 6**0.5)
    assert "cosine" not in result["compute_types"][CTRANSLATE2]


def test_cosine_is_of_the_last_axis() -> None:
    left, right = np.array([[1.0, 0.0], [1.0, 1.0]]), np.array([[0.0, 2.0], [3.0, 3.0]])
    assert np.allclose(cosine(left, right), [0, 1])


def test_the_page_has_a_row_for_each_set_and_model() -> None:
    values = {"logits_rms": 0.1, "same_token": 0.5, "same_token_where_decided": 0.98}
    rates = {kind: {"errors": 1, "words": 8} for kind in ("float32", "bfloat16", "int8")}
    document = {
        "command": "python -m benchmarks.quality",
        "machine": {"cpu": "a CPU"},
        "versions": {"commit": "abc"},
        "error_rates": {"sentences": {"recordings": 3, **rates}},
        "numbers": [
            {
                "model": "random:tiny",
                "tokens": 9,
                "decided": 7,
                "compute_types": {"int8": {**values, "cosine": 0.9995, "least": 0.99}},
            }
        ],
    }
    text = page(document)
    assert "| sentences | 3 | 12.5% | 12.5% | 12.5% |" in text
    assert "| random:tiny, int8 | 0.99950 | 0.99000 | 0.100 | 98.0% | 50.0% |" in text
    assert "7 of 9 for random:tiny" in text


def test_a_part_is_replaced_and_the_rest_kept(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    write_part(path, "one", "first")
    write_part(path, "two", "second")
    path.write_text(path.read_text() + "\nby hand\n")
    write_part(path, "one", "new")
    text = path.read_text()
    assert "first" not in text
    assert text.index("new") < text.index("second") < text.index("by hand")
