from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from audit_samples import draw_titles, title_strata
from originals import RAW

from study.core.errors import DataError
from study.data import audits
from study.data.topics import AREAS, topics
from study.panel import shipped

ROOT = Path(__file__).parents[2]
PAPERLISTS = RAW / "paperlists"
AUDITS = shipped("data", "audits")
SAMPLE, STRATA = AUDITS / "topics_sample.csv", AUDITS / "topics_strata.csv"
FIRST_SAMPLE, FIRST_STRATA = AUDITS / "topics_first_sample.csv", AUDITS / "topics_first_strata.csv"


def heavy(title: str) -> bool:
    return bool(topics([title])["compute_heavy"].iloc[0])


def area(title: str) -> str:
    return str(topics([title])["area"].iloc[0])


@pytest.mark.parametrize(
    "title",
    [
        "Aligning Large Language Models by Gardening",
        "GardenGPT: a Generalist for Flower Beds",
        "TulipBERT",
        "Tulip-CLIP for Flower Retrieval",
        "Self-Supervised Features of Tulips",
        "Pretraining on Tulips",
        "A Swinging Transformer",
        "TulipFormer for Bulb Counting",
        "Very Deep Nets in the Garden",
        "Counting Bulbs with CNNs",
        "GANs for Gardens",
        "Latent Diffusion of Bulb Catalogues",
        "Editing Images of Tulips by Diffusion",
        "Describing Gardens: Image Captioning with Rain",
        "Statistical Machine Translation of Seed Packets",
        "Deep Reinforcement Learning for Watering",
        "Neural Architecture Search for Bulbs",
        "Pruning Neural Networks in Spring",
        "Adversarial Examples of Tulips",
        "TulipNet: Counting Bulbs",
        "TUL-Net for Semantic Segmentation of Gardens",
        "A Bulb Alignment Network",
        "Petal-RNN",
        "TulipDiffusion",
        "Disentangled Representations of Bulbs",
        "Learning in Context to Water Bulbs",
        "Multimodal Reasoning about Gardens",
        "Hallucination of Language in Seed Catalogues",
        "Solving Word Problems about Bulbs",
    ],
)
def test_titles_of_large_models_are_heavy(title: str) -> None:
    assert heavy(title)


@pytest.mark.parametrize(
    "title",
    [
        "",
        "Neural Networks that Count Bulbs",
        "Tulip Detection in the Wild",
        "Radiance Fields of a Garden",
        "Graph Convolutional Networks for Flower Beds",
        "A Deep Sea Vehicle",
        "Deep Gaussian Processes of Tulips",
        "Anisotropic Diffusion of Pollen",
        "Beamformers for Bees",
        "Models of Organ Growth",
        "The Clip of a Gardener",
        "Visual Attention of Bees",
        "A Neural Net That Counts Bulbs",
        "Bayesian Networks for Action Recognition in Gardens",
        "Sensor Networks for Video of Tulips",
        "Graph Neural Networks for Video of Tulips",
        "Hallucination of Petals",
        "Tulips in Context",
        "Generative Models of Pollen",
        "Multimodal Watering Robots",
        "Gradient Descent Finds Global Minima of Deep Tulips",
        "Convergence of Deep Networks That Grow Tulips",
        "Regret of Transformers in a Garden",
    ],
)
def test_titles_of_tasks_small_models_other_senses_and_proofs_are_not_heavy(title: str) -> None:
    assert not heavy(title)


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("Recognition of Tulips in Images", "vision"),
        ("Large Language Models of Gardeners", "language"),
        ("Question Answering about Bulbs", "language"),
        ("Visual Question Answering about Bulbs", "vision"),
        ("Speech of Gardeners", "speech"),
        ("Visual Servoing of a Watering Can", "robotics"),
        ("Reinforcement Learning by Watering", "reinforcement learning"),
        ("Regret of Reinforcement Learning", "theory"),
        ("Bayesian Regression of Bulb Sizes", "theory"),
        ("Rendering Dew on Petals", "graphics"),
        ("Deep Networks in Spring", "other"),
        ("Markets for Bulbs", "other"),
    ],
)
def test_the_area_goes_by_the_task(title: str, expected: str) -> None:
    assert area(title) == expected


def test_hyphens_capitals_plurals_and_typography_do_not_matter() -> None:
    spellings = [
        "text-to-image tulips",
        "Text to Image Tulips",
        "TEXT‐TO‐IMAGE TULIPS",
        "Text to Image Tulips",
    ]
    assert topics(spellings)["compute_heavy"].all()
    assert heavy("A language model")
    assert heavy("Two Language Models")


def test_a_word_is_no_part_of_another_word() -> None:
    assert not heavy("The Promptness of Gardeners")
    assert area("The Imaginary Garden") == "other"


def test_a_table_keeps_the_index_and_says_the_same_as_title_by_title() -> None:
    titles = pd.Series(["GANs for Gardens", "Grasping Bulbs", ""], index=[7, 3, 9])
    table = topics(titles)
    assert table.index.tolist() == [7, 3, 9]
    assert table["compute_heavy"].tolist() == [heavy(title) for title in titles]
    assert table["area"].tolist() == [area(title) for title in titles]
    assert str(table.dtypes["compute_heavy"]) == "bool"


def test_no_titles_make_an_empty_table() -> None:
    assert topics([]).shape == (0, 2)


@pytest.mark.parametrize(
    ("titles", "message"),
    [(["A title", None], "title 2 is NoneType and no text"), ([float("nan")], "title 1 is float")],
)
def test_what_is_no_text_is_named_by_its_number(titles: Any, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        topics(titles)
    assert "\n" not in str(caught.value)


def test_every_group_of_words_has_a_reason_and_no_word_twice() -> None:
    table = tomllib.loads(shipped("data", "topics.toml").read_text(encoding="utf-8"))
    groups = [*table["heavy"], *table["area"]]
    assert all(len(group["reason"]) > 20 for group in groups)
    assert {group["area"] for group in table["area"]} == set(AREAS)
    assert sum(group.get("never_heavy", False) for group in table["area"]) == 1
    for group in [*groups, table["not_heavy"]]:
        for words in (group.get("terms", []), group.get("cased", []), group.get("only_with", [])):
            assert len(words) == len(set(words))


def test_every_word_finds_itself() -> None:
    table = tomllib.loads(shipped("data", "topics.toml").read_text(encoding="utf-8"))
    skipped = set(table["not_heavy"]["terms"])
    for group in table["heavy"]:
        for term in [*group["terms"], *group.get("cased", [])]:
            title = f"{term} {group.get('only_with', [''])[0]}"
            title = title.replace("*", "x").replace("+", "x")
            assert heavy(title) or term in skipped or area(title) == "theory", term


def _papers(heavy_papers: int, rest: int) -> pd.DataFrame:
    flags = [True] * heavy_papers + [False] * rest
    return pd.DataFrame(
        {
            "venue": "tulip",
            "year": [2000 + number % 2 for number in range(len(flags))],
            "row": range(1, len(flags) + 1),
            "compute_heavy": flags,
            "area": "vision",
        }
    )


def _judged(heavy_yes: int, rest_yes: int, each: int = 10) -> pd.DataFrame:
    sample = draw_titles(_papers(20, 180), each=each, seed=1)
    sample = sample.sort_values("stratum", ignore_index=True)
    yes = [number < heavy_yes for number in range(each)] + [number < rest_yes for number in range(each)]
    sample["verdict"] = sample["deep"] = ["yes" if answer else "no" for answer in yes]
    sample["area"] = ["vision"] * (each + 5) + ["other"] * (each - 5)
    return sample


def test_a_draw_depends_on_its_seed_and_not_on_the_order_of_papers() -> None:
    papers = _papers(50, 100)
    sample = draw_titles(papers, each=20, seed=1)
    assert sample.equals(draw_titles(papers.sample(frac=1, random_state=3), each=20, seed=1))
    assert not sample.equals(draw_titles(papers, each=20, seed=2))
    assert sample["stratum"].value_counts().to_dict() == {"heavy": 20, "rest": 20}
    assert not sample["row"].duplicated().any()
    assert (sample["row"] <= 50).tolist() == (sample["stratum"] == "heavy").tolist()
    assert sample["stratum"].tolist() != sorted(sample["stratum"])


def test_what_was_seen_before_is_not_drawn_again() -> None:
    papers = _papers(40, 40)
    seen = draw_titles(papers, each=20, seed=1)
    sample = draw_titles(papers, each=20, seed=1, seen=seen)
    assert sorted([*seen["row"], *sample["row"]]) == list(range(1, 81))


def test_recall_weights_the_strata_by_the_population() -> None:
    papers = _papers(20, 180)
    reading = audits.topics_audit(_judged(9, 1), title_strata(papers))
    assert (reading.precision.successes, reading.precision.total) == (9, 10)
    assert (reading.missed.successes, reading.missed.total) == (1, 10)
    assert reading.recall.value == pytest.approx(20 * 0.9 / (20 * 0.9 + 180 * 0.1))
    low, high = reading.recall.interval
    assert 0 < low < reading.recall.value < high < 1


def test_recall_is_one_where_nothing_was_missed_and_its_interval_says_how_sure_that_is() -> None:
    reading = audits.topics_audit(_judged(10, 0), title_strata(_papers(20, 180)))
    assert (reading.recall.value, reading.recall.high) == (1, 1)
    assert reading.recall.low < 0.5


def test_areas_that_agree_are_counted_by_stratum_and_weighted() -> None:
    heavy_share, rest_share, weighted = audits.area_agreement(_judged(9, 1), title_strata(_papers(20, 180)))
    assert (heavy_share.value, rest_share.value) == (1, 0.5)
    assert weighted == pytest.approx(0.1 * 1 + 0.9 * 0.5)


def test_agreement_counts_only_titles_judged_twice() -> None:
    sample = _judged(9, 1)
    sample.loc[:3, "second_verdict"] = ["yes", "yes", "yes", "no"]
    share = audits.topics_audit(sample, title_strata(_papers(20, 180))).agreement
    assert (share.successes, share.total) == (3, 4)


def test_an_unjudged_title_is_named() -> None:
    sample = _judged(9, 1)
    sample.loc[4, "verdict"] = ""
    with pytest.raises(DataError, match=f"verdict of title {sample.loc[4, 'id']} is empty"):
        audits.topics_audit(sample, title_strata(_papers(20, 180)))


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("verdict", "maybe", r'line 2: verdict is "maybe"; it must be one of \'yes\', \'no\', \'\''),
        ("second_area", "cooking", 'line 2: second_area is "cooking"'),
        ("stratum", "", 'line 2: stratum is ""'),
        ("row", "0", 'line 2: row is "0"; it must be a whole number'),
        ("year", "MMX", 'line 2: year is "MMX"'),
    ],
)
def test_a_wrong_answer_is_named_with_its_line(tmp_path: Path, column: str, value: str, message: str) -> None:
    sample = _judged(9, 1).astype(str)
    sample.loc[0, column] = value
    sample.to_csv(tmp_path / "sample.csv", index=False)
    with pytest.raises(DataError, match=message):
        audits.read_titles(tmp_path / "sample.csv")


def test_a_sample_without_a_column_or_with_an_id_twice_is_refused(tmp_path: Path) -> None:
    sample, path = _judged(9, 1), tmp_path / "sample.csv"
    sample.drop(columns="deep").to_csv(path, index=False)
    with pytest.raises(DataError, match="no column deep"):
        audits.read_titles(path)
    pd.concat([sample, sample.head(1)]).to_csv(path, index=False)
    with pytest.raises(DataError, match=f"line 22: {sample['id'][0]} is also on line 2"):
        audits.read_titles(path)


@pytest.mark.parametrize(("path", "counts"), [(SAMPLE, STRATA), (FIRST_SAMPLE, FIRST_STRATA)])
def test_the_shipped_samples_are_of_two_equal_strata_and_hold_no_titles(path: Path, counts: Path) -> None:
    sample = audits.read_titles(path)
    assert sample["stratum"].value_counts().to_dict() == {"heavy": 100, "rest": 100}
    assert list(sample.columns) == list(audits.COLUMNS)
    population = pd.MultiIndex.from_frame(pd.read_csv(counts)[["venue", "year"]])
    assert pd.MultiIndex.from_frame(sample[["venue", "year"]]).isin(population).all()


def test_no_paper_is_in_both_samples() -> None:
    both = pd.concat([audits.read_titles(SAMPLE), audits.read_titles(FIRST_SAMPLE)])
    assert not both.duplicated(audits.KEYS).any()
