"""Pushing to and fetching from a hub, over HTTP, as users do: bytes, cards, commits, tokens, what is refused."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import huggingface_hub.file_download
import numpy as np
import pytest
import torch
from conftest import refused, run
from fake_hub import Hub, fake_hub

import lens_truth
from lens_truth.hub.things import bytes_of, file_of, read_thing, without_places
from lens_truth.neurons.neuron_set import NeuronSet

ROOT = Path(__file__).parents[2]
REPO = "org/heads"
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # huggingface_hub's own LFS upload


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """huggingface_hub reads its environment when it is imported, which it is already: so its constants are set."""
    constants = huggingface_hub.constants
    with fake_hub() as hub:
        for name, value in {
            "ENDPOINT": hub.url,
            "HUGGINGFACE_CO_URL_TEMPLATE": hub.url + "/{repo_id}/resolve/{revision}/{filename}",
            "HF_HOME": str(tmp_path / "home"),
            "HF_HUB_CACHE": str(tmp_path / "home" / "hub"),
            "HF_TOKEN_PATH": str(tmp_path / "home" / "token"),
            "HF_STORED_TOKENS_PATH": str(tmp_path / "home" / "stored"),
            "HF_HUB_DISABLE_XET": True,
        }.items():
            monkeypatch.setattr(constants, name, value, raising=False)
        for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
            monkeypatch.delenv(name, raising=False)
        huggingface_hub.close_session()
        yield hub
        huggingface_hub.close_session()


def some_scores(kind: str = "truth", **provenance: Any) -> lens_truth.HeadScores:
    rng = np.random.default_rng(3)
    values = rng.uniform(0.4, 0.9, (3, 4))
    metrics = {"ci_low": values - 0.05, "ci_high": values + 0.05}
    about = {"model": "org/llama@main", "weights": "2-abc", "template": "plain", "n_examples": 12, **provenance}
    return lens_truth.HeadScores(values, kind, metrics, np.stack([values] * 2), about)


def some_probes() -> lens_truth.HeadProbes:
    torch.manual_seed(0)
    z, labels = torch.randn(24, 2, 2, 3), torch.tensor([0, 1] * 12)
    groups = tuple(str(i // 2) for i in range(24))
    return lens_truth.HeadProbes.fit(lens_truth.HeadActivations(z, labels, groups, tuple(map(str, range(24))), {}))


def things() -> dict[str, Any]:
    scores = some_scores()
    neurons = NeuronSet(np.array([0, 1]), np.array([2, 0]), np.array([0.5, -1.0]), 0.1, (3, 4), {"model": "zoo:x"})
    return {
        "truth-scores": scores,
        "made-up-scores": replace(scores, kind="made up"),
        "gate": lens_truth.HeadGate.from_scores(scores, 1.5),
        "shift": lens_truth.HeadShift(torch.rand(2, 3, 4), provenance={"alpha": 2.0, "heads": [[0, 1]]}),
        "neuron-gate": lens_truth.NeuronGate(torch.tensor([[1.0, 0.0], [1.0, 2.0]]), {"alpha": 0.0}),
        "probes": some_probes(),
        "neurons": neurons,
    }


@pytest.mark.parametrize(
    "name", ["truth-scores", "made-up-scores", "gate", "shift", "neuron-gate", "probes", "neurons"]
)
def test_what_is_pushed_comes_back(hub: Hub, name: str, tmp_path: Path) -> None:
    thing = things()[name]
    done = lens_truth.push_to_hub(thing, REPO)
    repo = hub.repos[REPO]
    assert done.commit == repo.branches["main"] and str(done) == done.url == f"{hub.url}/{REPO}/commit/{done.commit}"
    assert done.files == (f"lens_truth/{name}.safetensors", "README.md")
    thing.save(tmp_path / "saved.safetensors")
    assert repo.files()[done.files[0]] == (tmp_path / "saved.safetensors").read_bytes()

    again = lens_truth.from_hub(REPO)
    assert type(again) is type(thing)
    assert again.provenance["hub"] == f"{REPO}@{done.commit}/lens_truth/{name}.safetensors"
    assert bytes_of(replace(again, provenance=thing.provenance)) == bytes_of(thing)
    card = repo.files()["README.md"].decode()
    assert f'lens_truth.from_hub("{REPO}", "{name}")' in card
    for code in re.findall(r"```python\n(.+?)```", card, re.S):
        compile(code, "card", "exec")
    assert set(hub.tokens) == {None}  # none was given, none is sent


def test_several_share_a_repository_and_a_card(hub: Hub) -> None:
    first = lens_truth.push_to_hub(some_scores(), REPO)
    lens_truth.push_to_hub(things()["gate"], REPO)
    lens_truth.push_to_hub(replace(some_scores(), kind="causal"), REPO)
    files = hub.repos[REPO].files()
    assert {name for name in files if name.startswith("lens_truth/")} == {
        f"lens_truth/{name}.safetensors" for name in ("truth-scores", "gate", "causal-scores")
    }
    card = files["README.md"].decode()
    assert re.findall(r"^## (.+)$", card, re.M) == [
        "Truth scores of heads",
        "A gate of heads",
        "Causal scores of heads",
    ]
    with pytest.raises(lens_truth.InputError, match="holds causal-scores, gate, truth-scores; say which one, as hub:"):
        lens_truth.from_hub(REPO)
    hub.asked.clear()
    assert isinstance(lens_truth.from_hub(REPO, "gate"), lens_truth.HeadGate)
    assert {asked for asked in hub.asked if "resolve" in asked} == {
        f"{verb} /{REPO}/resolve/main/lens_truth/gate.safetensors" for verb in ("HEAD", "GET")
    }  # and nothing else
    old = lens_truth.from_hub(REPO, revision=first.commit)
    assert isinstance(old, lens_truth.HeadScores) and f"@{first.commit}/" in old.provenance["hub"]


def test_the_card(hub: Hub) -> None:
    surface = {"shorter": 0.9, "length_ratio": 2.0}
    scores = some_scores("causal", data="a | <b> -->", surface=surface, seed=0)
    lens_truth.push_to_hub(scores, REPO)
    card = hub.repos[REPO].files()["README.md"].decode()
    front, body = card.removeprefix("---\n").split("\n---\n", 1)
    assert front.splitlines() == [
        "library_name: lens-truth",
        "base_model: org/llama",
        "tags:",
        "- lens-truth",
        "- interpretability",
        "- head-scores",
    ]
    assert "| model | org/llama@main |" in body and "| hash of its weights | 2-abc |" in body
    assert "| examples | 12 |" in body and "| seed | 0 |" in body and "| data | a \\| &lt;b&gt; --&gt; |" in body
    layer, head = scores.best()
    low, high = (f"{float(scores.metrics[name][layer, head]):.3f}" for name in ("ci_low", "ci_high"))
    assert f"| {layer} | {head} | {scores.values.max():.3f} | {low} | {high} |" in body
    assert "**Note.** " in body and "| kind | causal |" in body
    assert re.search(r"\| pushed with \| lens-truth [\d.]+, torch ", body)
    cite = (ROOT / "docs" / "citing.md").read_text()
    assert re.findall(r"```bibtex\n.+?```", body, re.S) == [
        "\n\n".join(re.findall(r"```bibtex\n.+?```", cite, re.S)[:2]).replace("\n```\n\n```bibtex\n", "\n\n")
    ]


@pytest.mark.parametrize(
    ("model", "base"),
    [("org/m", "org/m"), ("org/m+org/a", "org/m"), ("zoo:x", None), ("/home/me/m", None), ("gpt2", None)],
)
def test_a_card_names_models_of_a_hub_alone(hub: Hub, model: str, base: str | None) -> None:
    lens_truth.push_to_hub(some_scores(model=model), REPO)
    card = hub.repos[REPO].files()["README.md"].decode()
    assert re.findall("^base_model: (.+)$", card, re.M) == ([base] if base else [])
    assert "/home/me" not in card and b"/home/me" not in hub.repos[REPO].files()["lens_truth/truth-scores.safetensors"]


def test_what_others_wrote_into_a_card_stays(hub: Hub) -> None:
    lens_truth.push_to_hub(some_scores(), REPO)
    repo = hub.repos[REPO]
    card = repo.files()["README.md"].decode()
    edited = card.replace("tags:", "license: mit\ntags:").replace("# heads", "# heads\n\nMy words.") + "\nMore words.\n"
    repo.commit("main", {**repo.files(), "README.md": edited.encode()}, "edited")
    lens_truth.push_to_hub(some_scores(n_examples=99), REPO)
    assert repo.files()["README.md"].decode() == edited.replace("| examples | 12 |", "| examples | 99 |")

    broken = edited.replace("<!-- end lens_truth/truth-scores.safetensors -->", "")
    sha = repo.commit("main", {**repo.files(), "README.md": broken.encode()}, "broken")
    with pytest.raises(lens_truth.InputError, match="the lines that begin and end the part of lens_truth/truth-scores"):
        lens_truth.push_to_hub(some_scores(), REPO)
    assert repo.branches["main"] == sha


def test_a_card_of_somebody_else_is_left_as_it_is(hub: Hub) -> None:
    mine = b"---\nlicense: mit\n---\n# Mine\r\n\xff\n"
    repo = hub.make(REPO, {"README.md": mine, "model.safetensors": b"weights"})
    assert lens_truth.push_to_hub(some_scores(), REPO).files == ("lens_truth/truth-scores.safetensors",)
    assert repo.files()["README.md"] == mine and repo.files()["model.safetensors"] == b"weights"
    with pytest.raises(lens_truth.InputError, match="UnicodeDecodeError"):  # huggingface_hub's; nothing is lost
        lens_truth.push_to_hub(some_scores(), REPO, add_card=True)


def test_a_card_of_somebody_else_is_added_to_where_that_is_asked(hub: Hub) -> None:
    mine = b"---\nlicense: mit\n---\n# Mine\n"
    repo = hub.make(REPO, {"README.md": mine})
    lens_truth.push_to_hub(some_scores(), REPO, add_card=True, message="a message")
    assert repo.files()["README.md"].startswith(mine + b"\n<!-- begin lens_truth/truth-scores.safetensors ")
    assert repo.messages[-1] == "a message"


def test_what_changes_meanwhile_is_not_lost(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    repo = hub.make(REPO, {"README.md": b"---\n---\n# Mine\n"})
    from lens_truth.hub import pushing

    def between(*arguments: Any, **how: Any) -> dict[str, bytes]:
        repo.commit("main", {**repo.files(), "README.md": b"new words"}, "theirs")
        return files_of(*arguments, **how)

    files_of = pushing.files_of
    monkeypatch.setattr(pushing, "files_of", between)
    with pytest.raises(lens_truth.InputError, match="somebody else has changed it meanwhile"):
        lens_truth.push_to_hub(some_scores(), REPO, add_card=True)
    assert repo.files()["README.md"] == b"new words" and repo.messages[-1] == "theirs"


def test_branches(hub: Hub) -> None:
    lens_truth.push_to_hub(some_scores(), REPO, revision="tried")
    repo = hub.repos[REPO]
    assert "lens_truth/truth-scores.safetensors" in repo.files("tried") and len(repo.files("main")) == 1
    assert lens_truth.from_hub(REPO, revision="tried").provenance["hub"].startswith(f"{REPO}@{repo.branches['tried']}/")
    with pytest.raises(lens_truth.InputError, match=f"hub:{REPO}: holds nothing of lens_truth's"):
        lens_truth.from_hub(REPO)


def test_privacy(hub: Hub) -> None:
    hub.token = "hf_secret"
    with pytest.raises(lens_truth.InputError, match=f"{REPO} cannot be pushed to: the hub does not know you"):
        lens_truth.push_to_hub(some_scores(), REPO, private=True)
    saved = Path(huggingface_hub.constants.HF_TOKEN_PATH)  # where `hf auth login` puts it
    saved.parent.mkdir(parents=True, exist_ok=True)
    saved.write_text("hf_other")
    with pytest.raises(lens_truth.InputError, match="the hub does not allow it: the token may not write there"):
        lens_truth.push_to_hub(some_scores(), REPO)
    saved.write_text("hf_secret")
    lens_truth.push_to_hub(some_scores(), REPO, private=True)
    assert hub.repos[REPO].private and lens_truth.from_hub(REPO)
    assert set(hub.tokens) == {None, "hf_other", "hf_secret"}
    hub.repos[REPO].private = False
    n = len(hub.repos[REPO].commits)
    with pytest.raises(lens_truth.InputError, match="is there already, and is public; nothing was pushed"):
        lens_truth.push_to_hub(some_scores(n_examples=1), REPO, private=True)
    assert len(hub.repos[REPO].commits) == n


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (401, "the hub does not know you|there is no such repository, or it is private"),
        (403, "the hub does not allow it"),
        (404, "the hub answers 404"),
        (418, "the hub answers 418"),
    ],
)
def test_what_the_hub_says_against_it_is_one_sentence(hub: Hub, status: int, said: str) -> None:
    hub.make(REPO)
    hub.fails = status
    for what in (lambda: lens_truth.push_to_hub(some_scores(), REPO), lambda: lens_truth.from_hub(REPO)):
        with pytest.raises(lens_truth.InputError, match=said) as error:
            what()
        assert "\n" not in str(error.value) and REPO in str(error.value)


def test_what_is_not_there(hub: Hub) -> None:
    hub.make(REPO, {"lens_truth/gate.safetensors": b"no", "scores/x.npy": b"no"})
    for address, said in {
        ("org/gone", "gate"): "hub:org/gone/lens_truth/gate.safetensors cannot be read: there is no such repository",
        (REPO, "shift"): "there is no such file",
        (REPO, "gate", "gone"): f"hub:{REPO}@gone/lens_truth/gate.safetensors cannot be read: there is no such branch",
        (REPO, "gate"): f"{REPO}@[0-9a-f]+/lens_truth/gate.safetensors: is no readable .safetensors file",
        (REPO, "scores/x.npy"): f"{REPO}@[0-9a-f]+/scores/x.npy: is not a readable .npy array",
        ("a/b/c", "gate"): "that is not the name of a repository, which is ORG/NAME",
    }.items():
        repo, name, *revision = address
        with pytest.raises(lens_truth.InputError, match=said):
            lens_truth.from_hub(repo, name, revision=revision[0] if revision else None)
    with pytest.raises(lens_truth.InputError, match="'../x' is no name for a file of a repository"):
        lens_truth.push_to_hub(some_scores(), REPO, name="../x")


def test_a_hub_that_does_not_answer(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.waits = 1.0
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # between two attempts
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_ETAG_TIMEOUT", 0.1)
    monkeypatch.setattr(
        "huggingface_hub.file_download._ETAG_RETRY_TIMEOUT", 0.1
    )  # it tries twice, at last for a minute
    with pytest.raises(lens_truth.InputError, match="not in the cache, and the hub is out of reach|Timeout"):
        lens_truth.from_hub(REPO, "gate")


def test_nobody_there(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(lens_truth.InputError, match=r"org/heads cannot be pushed to: ConnectError \(.*refused\)"):
        lens_truth.push_to_hub(some_scores(), REPO)


def test_where_things_lie_is_not_told() -> None:
    assert without_places(
        {
            "model": "/home/me/my models/llama+/srv/a/adapter",
            "data": "halueval:/home/me/qa.json",
            "of": [r"C:\Users\me\x.csv", "~/a/b.csv", "org/name", "https://hf.co/a/b", "a/b.csv", 3, None],
            "said": "read from /home/me/rows.csv, of 1/2 of all",
        }
    ) == {
        "model": "llama+adapter",
        "data": "halueval:qa.json",
        "of": ["C:x.csv", "b.csv", "org/name", "https://hf.co/a/b", "a/b.csv", 3, None],
        "said": "read from rows.csv, of 1/2 of all",
    }


def test_files_are_known_by_what_they_hold(tmp_path: Path) -> None:
    for name, thing in things().items():
        assert file_of(thing) == f"lens_truth/{name}.safetensors"
        thing.save(tmp_path / "x.safetensors")
        assert type(read_thing(tmp_path / "x.safetensors")) is type(thing)
    some_scores().save(tmp_path / "x.csv")
    assert isinstance(read_thing(tmp_path / "x.csv"), lens_truth.HeadScores)


# The command


def test_push_asks(
    hub: Hub, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    some_scores().save(tmp_path / "s.safetensors")
    push = ("hub", "push", tmp_path / "s.safetensors", REPO)
    refused(capsys, f"nobody can be asked whether to push {tmp_path / 's.safetensors'} to {REPO}: say --yes", *push)
    assert hub.asked == []
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr("builtins.input", lambda prompt: "n")
    code, said, _ = run(capsys, *push)
    assert code == 0 and "nothing was pushed" in said and REPO not in hub.repos
    size = (tmp_path / "s.safetensors").stat().st_size
    assert f"lens_truth/truth-scores.safetensors  {size:,} bytes" in said and "library_name: lens-truth" in said
    monkeypatch.setattr("builtins.input", lambda prompt: "y")
    code, said, _ = run(capsys, *push, "--private", "--name", "first")
    assert code == 0 and f"pushed: {hub.url}/{REPO}/commit/" in said and hub.repos[REPO].private
    assert "lens_truth/first.safetensors" in hub.repos[REPO].files()


def test_dry_run_asks_no_hub(hub: Hub, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    some_scores().save(tmp_path / "s.csv")
    out = tmp_path / "dry"
    assert run(capsys, "hub", "push", tmp_path / "s.csv", REPO, "--dry-run", out)[0] == 0
    assert hub.asked == []
    found = lens_truth.HeadScores.load(out / "lens_truth" / "truth-scores.safetensors")
    assert np.array_equal(found.values, some_scores().values)
    assert (out / "README.md").read_text().startswith("---\nlibrary_name: lens-truth\n")


def test_pull_and_hub_in_place_of_a_file(hub: Hub, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    done = lens_truth.push_to_hub(some_scores(), REPO)
    lens_truth.push_to_hub(some_scores("causal"), REPO)
    code, said, _ = run(capsys, "hub", "pull", REPO, "--out", tmp_path / "all")
    assert code == 0 and {path.name for path in (tmp_path / "all").iterdir()} == {
        "truth-scores.safetensors",
        "causal-scores.safetensors",
    }
    address = f"{REPO}@{done.commit}/truth-scores"
    code, said, _ = run(capsys, "hub", "pull", address, "--out", tmp_path / "one")
    assert code == 0 and f"read {REPO}@{done.commit}/lens_truth/truth-scores.safetensors" in said
    assert [path.name for path in (tmp_path / "one").iterdir()] == ["truth-scores.safetensors"]
    refused(capsys, "a repository is written ORG/NAME", "hub", "pull", "no")
    refused(capsys, "after `lens-truth hub` stands one of push, pull", "hub", "fetch")

    scores = ("--scores", f"one=hub:{address}", f"two=hub:{REPO}/causal-scores")
    code, said, err = run(capsys, "heads", *scores, "--permutations", "20", "--out", tmp_path / "heads")
    assert code == 0, err
    assert f"hub:{address}: read {REPO}@{done.commit}/lens_truth/truth-scores.safetensors" in said
    refused(capsys, "there is no such file", "heads", "--scores", f"hub:{REPO}/gone", "--out", tmp_path / "x")


def test_the_environment_is_huggingface_hubs(hub: Hub, tmp_path: Path) -> None:
    """In processes of their own: pushed, fetched, and then read from the cache with nobody there."""
    some_scores().save(tmp_path / "s.safetensors")
    code = f"import lens_truth; print(lens_truth.from_hub({REPO!r}).provenance['hub'])"
    env = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "h"), "HF_HUB_DISABLE_XET": "1"}
    push = ["-m", "lens_truth", "hub", "push", str(tmp_path / "s.safetensors"), REPO, "--yes"]
    said = [
        subprocess.run([sys.executable, *its], env=env | more, capture_output=True, text=True, check=True).stdout
        for its, more in (
            (push, {"HF_TOKEN": "hf_mine"}),
            (["-c", code], {}),
            (["-c", code], {"HF_HUB_OFFLINE": "1", "HF_ENDPOINT": "http://127.0.0.1:9"}),
        )
    ]
    sha = hub.repos[REPO].branches["main"]
    assert said[0].endswith(f"/commit/{sha}\n") or f"/commit/{sha}\n" in said[0]
    assert said[1] == said[2] == f"{REPO}@{sha}/lens_truth/truth-scores.safetensors\n"
    assert set(hub.tokens) == {"hf_mine", None}
