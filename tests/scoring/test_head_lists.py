"""Lists of heads as others publish them, and how they agree with scores."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from drawn import faults

from lens_truth.errors import DataWarning, InputError
from lens_truth.scoring.head_lists import HeadList
from lens_truth.scoring.list_result import ListAgreement, list_agreement
from lens_truth.scoring.scores import HeadScores

HEADS = ((16, 29), (17, 0), (3, 5))
ADHH = {"hal_heads": [[16, 29], [17, 0], [3, 5]], "non_hal_heads": [[18, 15]]}


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("pairs.json", "[[16, 29], [17, 0], [3, 5]]"),
        ("texts.json.gz", '["16-29", "17-0", "3-5"]'),
        ("scored.json", "[[[16, 29], 0.94], [[17, 0], 0.5], [[3, 5], 0.5]]"),
        ("scored_texts.json", '[["16-29", 0.94], ["17-0", 0.5], ["3-5", 1]]'),
        ("redeep.json", '{"select_heads": [[16, 29], [17, 0], [3, 5]], "select_layers": [1, 2], "weight": 0.2}'),
        ("some.json", '{"3-5": [0.1, 0.2], "16-29": [0.9, 0.9], "17-0": [0, 1]}'),
        ("lines.txt", "# hallucination heads\n16-29\n17.0  # the second\n\n3 5\n"),
        ("more.txt", "L16H29\n(17, 0)\r\n[3,5]\n"),
        ("lines.txt.gz", "16-29\n17-0\n3-5"),
        ("places.csv", "layer,head\n16,29\n17,0\n3,5\n"),
    ],
)
def test_every_form_that_lists_are_published_in(tmp_path: Path, name: str, text: str) -> None:
    assert HeadList.load(write(tmp_path, name, text)).heads == HEADS


def test_top_heads_as_arrays(tmp_path: Path) -> None:
    np.save(tmp_path / "top.npy", np.array(HEADS))
    assert HeadList.load(tmp_path / "top.npy").heads == HEADS
    assert HeadList.load(tmp_path / "top.npy", top=2).heads == HEADS[:2]


def test_parts_of_an_object(tmp_path: Path) -> None:
    path = write(tmp_path, "adhh.json", json.dumps(ADHH))
    assert HeadList.load(path, part="non_hal_heads").heads == ((18, 15),)
    assert HeadList.load(path, part="hal_heads", top=2).heads == HEADS[:2]
    with pytest.warns(DataWarning, match="holds the lists hal_heads, non_hal_heads; 'hal_heads' is taken"):
        assert HeadList.load(path).heads == HEADS
    with pytest.raises(InputError, match="no list of heads called 'heads', only hal_heads, non_hal_heads"):
        HeadList.load(path, part="heads")


def test_scores_of_all_heads_become_their_best(tmp_path: Path) -> None:
    values = np.arange(200.0).reshape(10, 20) / 1000
    values[0, 0] = 1
    trials = {f"{layer}-{head}": [float(values[layer, head])] * 2 for layer, head in np.ndindex(10, 20)}
    write(tmp_path, "retrieval.json.gz", json.dumps(trials))
    np.save(tmp_path / "iti.npy", values)
    for name in ("retrieval.json.gz", "iti.npy"):
        found = HeadList.load(tmp_path / name)
        assert len(found) == 10 and found.heads[:2] == ((0, 0), (9, 19))  # 5% of 200
        assert found.scores is not None and np.allclose(found.scores.values, values)
        assert HeadList.load(tmp_path / name, top=3).heads == ((0, 0), (9, 19), (9, 18))
    assert repr(found) == "HeadList(10 heads: 0.0, 9.19, 9.18, 9.17, 9.16, ...)"


def test_one_number_a_head_is_a_score_file_too(tmp_path: Path) -> None:
    path = write(tmp_path, "scores.json", json.dumps({"0-0": 0.5, "0-1": 1, "1-0": 0.25, "1-1": 0}))
    scores = HeadScores.load(path)
    assert scores.kind == "retrieval" and scores.folds is None
    assert scores.values.tolist() == [[0.5, 1.0], [0.25, 0.0]]
    assert HeadList.load(path, top=2).heads == ((0, 1), (0, 0))


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("gone", None, "there is no such file"),
        ("heads.yaml", "16-29", "heads are read from .txt files and from .safetensors"),
        ("heads.txt", "16-29\nhead 3\n", "line 2: 'head 3' is no head; write layer and head as 16-29"),
        ("heads.txt", "# nothing\n", "a list of heads is empty"),
        ("heads.txt", "1-2\n1-2\n", "layer 1, head 2 stands there twice"),
        ("heads.json", "[]", "the file is not a list of heads"),
        ("heads.json", "3", "the file is not a list of heads"),
        ("heads.json", "[[1, 2], [3]]", r"number 2 of the file is \[3\], neither \[layer, head\] nor 'layer-head'"),
        ("heads.json", "[[1, 2.5]]", "number 1 of the file is"),
        ("heads.json", "[[1, -2]]", "layer 1, head -2 is on the list; both are counted from 0"),
        ("heads.json", "{}", "holds no list of heads"),
        ("heads.json", '{"layers": [1, 2]}', "holds no list of heads"),
        ("heads.json", '{"3-5": "high"}', "head '3-5' holds neither a number nor a list of numbers"),
        ("heads.csv", "layer,head\n1,two\n", "line 2: layer and head are not whole numbers"),
        ("heads.csv", "layer,head\n", "holds no heads"),
        ("heads.npy", "no array", "is not a readable .npy array"),
    ],
)
def test_what_is_wrong_with_a_file(tmp_path: Path, name: str, text: str | None, complaint: str) -> None:
    path = tmp_path / name if text is None else write(tmp_path, name, text)
    with pytest.raises(InputError, match=complaint) as told:
        HeadList.load(path)
    assert str(path) in str(told.value)


def test_what_is_wrong_with_what_is_asked(tmp_path: Path) -> None:
    pairs, scored = write(tmp_path, "a.json", "[[1, 2]]"), write(tmp_path, "b.json", '{"3-5": 1}')
    for path in (pairs, write(tmp_path, "a.txt", "1-2")):
        with pytest.raises(InputError, match="only a JSON object has lists by name, such as 'hal_heads'"):
            HeadList.load(path, part="hal_heads")
    with pytest.raises(InputError, match="holds scores by head, and no list 'hal_heads'"):
        HeadList.load(scored, part="hal_heads")
    with pytest.raises(InputError, match=r"a.json: the first 3 heads were asked for of a list of 1"):
        HeadList.load(pairs, top=3)
    with pytest.raises(InputError, match="layer 1, head 2 is on the list, but there are 2 layers of 2 heads"):
        HeadList.load(pairs).marks(2, 2)


def scores(seed: int = 0, shape: tuple[int, int] = (8, 8), **about: int) -> HeadScores:
    return HeadScores(np.random.default_rng(seed).random(shape), provenance=about)


def some(seed: int = 3) -> ListAgreement:
    """Two lists, one of them cut from scores, against two kinds of scores."""
    lists = {"listed": HeadList(((0, 0), (1, 1), (2, 7))), "cut": HeadList.from_scores(scores(seed))}
    return list_agreement(lists, {"truth": scores(1), "causal": scores(2)}, n_permutations=99, n_bootstrap=50)


def test_a_result_comes_back_equal(tmp_path: Path) -> None:
    found = some()
    assert ListAgreement.from_dict(json.loads(json.dumps(found.as_dict()))) == found
    found.save(tmp_path)
    assert ListAgreement.load(tmp_path) == found
    with pytest.raises(InputError, match="extra"):
        ListAgreement.from_dict({**found.as_dict(), "extra": 1})
    assert [len(table.rows) for table in found.tables()] == [4, 1]
    assert len(found.verdicts()) == 5 and list(faults(found.plot())) == []
    assert found.relations.keys() == {"cut"} and found.relations["cut"].keys() == {"truth", "causal"}


def test_scores_say_nothing_of_the_list_that_was_cut_from_them() -> None:
    truth, causal = scores(1), scores(2)
    lists = {"best": HeadList.from_scores(truth, 5)}
    found = list_agreement(lists, {"truth": truth, "causal": causal}, n_permutations=99)
    assert found.against["best"].keys() == found.relations["best"].keys() == {"causal"}
    assert HeadList.from_scores(truth, 1).heads == (truth.best(),)


def test_p_values_are_adjusted_over_all_tests() -> None:
    found = some()
    raw = [its.p_value for of_list in found.against.values() for its in of_list.values()]
    adjusted = [p for of_list in found.p_holm.values() for p in of_list.values()]
    assert min(adjusted) == pytest.approx(min(1, 4 * min(raw))) and all(
        a >= r for a, r in zip(adjusted, raw, strict=True)
    )


def test_a_planted_list_is_said() -> None:
    rng = np.random.default_rng(0)
    values = rng.random((12, 16))
    heads = tuple((layer, int(head)) for layer in range(12) for head in np.argsort(-values[layer])[:3])
    found = list_agreement({"known": HeadList(heads)}, {"truth": HeadScores(values + 0.2 * rng.random((12, 16)))})
    assert found.verdicts()[0].startswith("known: its heads have higher truth scores than the others of their layers")
    few = list_agreement({"one": HeadList(((0, 0),))}, {"truth": HeadScores(values)})
    assert "with 1 head, what lies inside the null could not be told from chance" in few.verdicts()[0]
    whole = list_agreement({"all": HeadList(tuple(np.ndindex(12, 16)))}, {"truth": HeadScores(values)})
    assert "nothing can be said" in whole.verdicts()[0]


def test_hard_figures() -> None:
    long = "heads that hallucinate, as somebody with much to say has called them"
    lists = {f"{long} {n}": HeadList(((n, n), (n + 1, n))) for n in range(12)}
    kinds = {f"{long}, kind {n}": scores(n, (80, 64)) for n in range(4)}
    found = list_agreement(lists, kinds, n_permutations=19, n_bootstrap=9)
    assert list(faults(found.plot())) == []
    one = list_agreement({"a": HeadList(((0, 0),))}, {"b": scores(0, (1, 2))}, n_permutations=19)
    assert list(faults(one.plot())) == []


def test_what_cannot_be_compared() -> None:
    one, other = HeadList(((0, 0),)), HeadList(((9, 9),))
    with pytest.raises(InputError, match="it takes a list of heads, and scores or another list"):
        list_agreement({"one": one}, {})
    with pytest.raises(InputError, match="no file says how many heads there are"):
        list_agreement({"one": one, "other": other}, {})
    with pytest.raises(InputError, match="list 'other': layer 9, head 9 is on the list, but there are 8 layers"):
        list_agreement({"other": other}, {"truth": scores()})
    with pytest.raises(InputError, match=r"'b' has shape \(4, 8\), 'a' \(8, 8\): they are of different models"):
        list_agreement({"one": one}, {"a": scores(), "b": scores(0, (4, 8))})
    with pytest.raises(InputError, match="models with 2 and 4 KV heads"):
        list_agreement({"one": one}, {"a": scores(n_kv_heads=2), "b": scores(1, n_kv_heads=4)})
    with pytest.raises(InputError, match="3 KV heads were named for 8 heads"):
        list_agreement({"one": one}, {"a": scores()}, n_kv_heads=3)
    known = list_agreement({"one": one}, {"a": scores(n_kv_heads=2), "b": scores(1)}, n_permutations=9)
    assert known.n_kv_heads == 2 and "those that share keys together" in known.tables()[0].note


@pytest.mark.published
def test_published_lists_of_llama_2(data: Path) -> None:
    """Retrieval heads, ReDeEP's copying heads and TruthProbe's scores, all of Llama 2 7B."""
    folder = data / "head_scores"
    retrieval = HeadList.load(folder / "retrieval" / "Llama-2-7b-hf.json.gz")
    copying = HeadList.load(folder / "redeep" / "test_llama2_7B__topk_heads.json")
    dolly = HeadList.load(folder / "redeep" / "test_llama2_7B__token_hyperparameter_dolly.json")
    truth = HeadScores.load(
        folder / "truthprobe" / "published" / "converted_score_cv5_head_metrics_llama2_halueval_292.npy"
    )
    assert len(retrieval) == 51 and len(copying) == 32 and dolly.heads == ((31, 28), (31, 19), (31, 24), (28, 18))
    assert set(dolly.heads) <= set(copying.heads)
    lists = {"retrieval": retrieval, "copying": copying, "dolly": dolly}
    found = list_agreement(lists, {"truth": truth}, n_kv_heads=32)
    assert found.against["retrieval"]["truth"].auroc == pytest.approx(0.418, abs=5e-4)
    assert found.against["copying"]["truth"].auroc == pytest.approx(0.514, abs=5e-4)
    assert found.relations["retrieval"]["truth"].pearson_within_layer == pytest.approx(-0.07, abs=5e-3)
    assert found.overlaps["retrieval"]["copying"].n_shared == 2
    assert all(its["truth"] > 0.05 for its in found.p_holm.values())
    assert found.overlaps["copying"]["dolly"].n_shared == 4 and found.overlaps_p_holm["copying"]["dolly"] < 0.01
