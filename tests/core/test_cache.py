"""What is kept on disk: only what can be verified is an answer, and a change of anything it depends on is a miss."""

from __future__ import annotations

import importlib
import io
import math
import os
import pickle
import re
import shutil
import sys
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import date
from importlib.metadata import entry_points
from pathlib import Path
from typing import NamedTuple, get_args, get_type_hints

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from plans import PANEL, PLAN
from typer.testing import CliRunner

import study.designs
from study import Question, estimate, settings
from study.commands import paper_commands
from study.commands.cli import app
from study.core import cache, current_settings, outputs
from study.core import cache as code_state
from study.core.cache import decoded, encoded, folder_of, keep, key_of, prepare, stored
from study.designs import answer_key, design, find_design
from study.learners import nuisances as fits
from study.learners.named import Problem
from study.learners.nuisances import fit_key
from study.panel import panel_state
from study.paper import run as running
from study.paper.plan import read_plan

pytestmark = pytest.mark.usefixtures("fonts_that_take_no_time")
KEY = "0" * 64
BITS = (math.nan, -math.nan, math.inf, -math.inf, -0.0, 0.0, 5e-324, 0.1, 1e307)


@dataclass(frozen=True)
class Pair:
    one: float
    other: object = None


class Named(NamedTuple):
    first: int
    rest: object


VALUES = [
    *(
        None,
        True,
        2**70,
        date(2026, 11, 24),
        "é\ud800\n",
        b"\x00\xff",
        [],
        (),
        {},
        [1, (2, [3])],
        {(1, "a"): [None], 2: {"b": (1,)}},
    ),
    *(np.float64(0.1), np.int32(7), np.bool_(True), np.str_("ab"), np.array(2.0), np.empty((0, 3))),
    *(
        np.array(BITS),
        np.arange(6, dtype=">i2").reshape(2, 3),
        np.array(["a", "bcd"]),
        np.array([True, False]),
    ),
    *(Pair(-0.0, Named(1, (Pair(1.5),))), Named(1, {"x": np.array([math.nan])}), *BITS),
]


def same(one, other):
    """Whether two values are of the same types throughout, and the same bit by bit."""
    if type(one) is not type(other):
        return False
    if isinstance(one, (np.ndarray, np.generic)):
        return (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes())
    if isinstance(one, float):
        return np.float64(one).tobytes() == np.float64(other).tobytes()
    if isinstance(one, dict):
        return same([*one.items()], [*other.items()])
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    if hasattr(one, "__dataclass_fields__"):
        return all(same(getattr(one, name), getattr(other, name)) for name in one.__dataclass_fields__)
    return one == other


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_a_value_comes_back_bit_by_bit_with_its_types(value):
    assert same(decoded(encoded(value), [Pair, Named]), value)


@given(st.lists(st.floats(width=64)), st.integers(0, 2**64 - 1))
def test_every_float_comes_back_bit_by_bit(numbers, bits):
    numbers.append(float(np.array([bits], dtype=np.uint64).view(np.float64)[0]))  # payloads of NaN too
    assert same(decoded(encoded([numbers, np.array(numbers)])), [numbers, np.array(numbers)])


@pytest.mark.parametrize("value", [object(), {1}, print, Pair, np.array([object()]), Path("a"), np.random])
def test_what_is_no_data_is_not_written(value):
    with pytest.raises(TypeError, match="no file holds"):
        encoded([value])
    assert key_of(value) is None


def test_no_type_is_read_but_those_that_are_asked_for():
    with pytest.raises(KeyError):
        decoded(encoded(Pair(1.0)), [Named])
    with pytest.raises(KeyError):
        decoded(b'{"os.system": ["true"]}', [Named])


def small_plan(tmp_path, **changes):
    text = PLAN.replace("permutations = 19", "permutations = 9").replace(
        "band_draws = 199", "band_draws = 19"
    )
    for old, new in changes.items():
        text = text.replace(old, new)
    (tmp_path / "study.toml").write_text(text)
    plan = read_plan(tmp_path / "study.toml")
    return plan, running.load(plan)


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    return small_plan(tmp_path_factory.mktemp("plan"))


@pytest.fixture(scope="module")
def answers(asked, tmp_path_factory):
    """Return answers and exhibits, and the folder in which they are kept."""
    folder = tmp_path_factory.mktemp("kept")
    results = running.run(*asked, jobs=1, cache=folder)
    return results, running.exhibit(*asked, results, jobs=1, cache=folder).exhibited, folder


def df_k(monkeypatch):
    """Count the answers and exhibits that are made from now on."""
    made, answer, find = [], running.answer, running.find_exhibit
    monkeypatch.setattr(running, "answer", lambda *a: made.append("answer") or answer(*a))

    def exhibit(name):
        found = find(name)
        return found._replace(make=lambda setting: made.append(name) or found.make(setting))

    monkeypatch.setattr(running, "find_exhibit", exhibit)
    return made


def test_answers_and_exhibits_come_back_as_they_were(asked, answers, monkeypatch):
    results, exhibited, folder = answers
    made = df_k(monkeypatch)
    assert same(running.run(*asked, jobs=1, cache=folder), results)
    assert same(running.exhibit(*asked, results, jobs=1, cache=folder).exhibited, exhibited)
    assert made == []


def parts(kind):
    """Return the house's types that the annotations of one lead to, itself among them."""
    found, waiting = set(), [kind]
    while waiting:
        hint = waiting.pop()
        waiting += get_args(hint)
        if isinstance(hint, type) and hint.__module__.startswith("study.") and hint not in found:
            found.add(hint)
            waiting += get_type_hints(hint).values()
    return found


@pytest.mark.parametrize("kinds", [running.ANSWER, running.EXHIBITED])
def test_every_type_that_an_answer_is_made_of_is_read(kinds):
    assert parts(kinds[0]) == {*kinds}


def test_a_flipped_bit_or_a_cut_is_found_wherever_it_is(tmp_path, asked, answers):
    results, _, folder = answers
    kept = {path: stored(folder, path.stem, running.ANSWER) for path in folder.glob("*.answer")}
    path = min((path for path in kept if kept[path] is not None), key=lambda path: path.stat().st_size)
    key, content = path.stem, path.read_bytes()
    assert any(same(kept[path], result) for result in results.values())
    place = tmp_path / path.name
    for at in (*range(200), *range(200, len(content), 7), len(content) - 1):
        damaged = bytearray(content)
        damaged[at] ^= 1 << at % 8
        place.write_bytes(damaged)
        assert stored(tmp_path, key, running.ANSWER) is None, at
    for length in range(0, len(content), 97):
        place.write_bytes(content[:length])
        assert stored(tmp_path, key, running.ANSWER) is None, length
    place.write_bytes(content + b" ")
    assert stored(tmp_path, key, running.ANSWER) is None


def test_damaged_answers_are_found_anew_and_kept(tmp_path, asked, answers, monkeypatch):
    results, _, folder = answers
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    rng = np.random.default_rng(1)
    for path in copy.glob("*.answer"):
        content = bytearray(path.read_bytes())
        content[rng.integers(len(content))] ^= 1 << rng.integers(8)
        path.write_bytes(content)
    made = df_k(monkeypatch)
    assert same(running.run(*asked, jobs=1, cache=copy), results)
    assert len(made) == len(results)
    assert same(running.run(*asked, jobs=1, cache=copy), results)
    assert len(made) == len(results)


def test_an_answer_of_another_key_type_or_format_is_none(tmp_path, monkeypatch):
    keep(tmp_path, KEY, Pair(1.0))
    assert stored(tmp_path, KEY, [Pair]) == Pair(1.0)
    assert stored(tmp_path, KEY, [Named, Pair]) is None
    assert stored(tmp_path, KEY, [Named]) is None
    other = "1" * 64
    shutil.copy(tmp_path / f"{KEY}.answer", tmp_path / f"{other}.answer")
    assert stored(tmp_path, other, [Pair]) is None
    monkeypatch.setattr(cache, "FORMAT", b"study answer, format 2")
    assert stored(tmp_path, KEY, [Pair]) is None


class Planted:
    """Makes a file when it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


def test_planted_pickles_are_not_loaded(tmp_path, asked, answers):
    results, _, folder = answers
    copy, mark = tmp_path / "copy", tmp_path / "mark"
    shutil.copytree(folder, copy)
    planted = pickle.dumps(Planted(mark))
    buffer = io.BytesIO()
    np.save(buffer, np.array([Planted(mark)]), allow_pickle=True)
    array = b'{"array":"' + b64encode(buffer.getvalue()) + b'"}'
    paths = sorted(copy.glob("*.answer"))
    for path, content in zip(paths, [planted, array] * len(paths), strict=False):
        signed = b"\n".join((cache.FORMAT, cache._checksum(path.stem, content), content))
        path.write_bytes(planted if path == paths[0] else signed)
        path.with_suffix(".pickle").write_bytes(planted)
    assert same(running.run(*asked, jobs=1, cache=copy), results)
    assert not mark.exists()
    pickle.loads(planted)
    assert mark.exists()


def test_an_interrupted_write_leaves_nothing_that_is_read_and_is_swept(tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        keep(tmp_path, KEY, Pair(1.0))
    monkeypatch.undo()
    assert [*tmp_path.iterdir()] == []
    (tmp_path / ".writing-0123456789abcdef").write_bytes(b"half")
    (tmp_path / ".writing-notes").write_bytes(b"a user's")
    assert stored(tmp_path, KEY, [Pair]) is None
    with outputs._locked(tmp_path, shared=True):  # as a run that writes now
        prepare.__wrapped__(tmp_path)
    assert len([*tmp_path.iterdir()]) == 3
    prepare.__wrapped__(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {".writing-notes", "CACHEDIR.TAG"}


def test_two_runs_at_once_have_the_same_answers(tmp_path, asked, answers):
    values = [Pair(float(i), "x" * 10_000) for i in range(4)]

    def work(_):
        for value in values * 10:
            key = key_of(value.one)
            found = stored(tmp_path, key, [Pair])
            assert found is None or found == value
            keep(tmp_path, key, value)

    with ThreadPoolExecutor(4) as pool:
        assert [*pool.map(work, range(4))] == [None] * 4
    assert all(stored(tmp_path, key_of(value.one), [Pair]) == value for value in values)


def test_without_a_place_to_keep_answers_a_run_goes_on_and_says_so_once(tmp_path, asked, answers, caplog):
    (tmp_path / "file").write_text("")
    for _ in range(2):
        found = running.run(*asked, jobs=1, cache=tmp_path / "file" / "cache")
        assert same(found, answers[0])
    said = f"study: {tmp_path}/file/cache: cannot write here (Not a directory); name another folder. "
    assert [record.getMessage() for record in caplog.records] == [said + "Answers are not kept."]


def test_a_full_disk_costs_answers_nothing(tmp_path, asked, answers, monkeypatch, caplog):
    def full(*_a, **_k):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    assert same(running.run(*asked, jobs=1, cache=tmp_path), answers[0])
    said = f"study: {tmp_path}: cannot write here (No space left on device); name another folder. "
    assert [record.getMessage() for record in caplog.records] == [said + "Answers are not kept."]


def test_an_answer_that_no_file_holds_is_not_kept(tmp_path, caplog):
    keep(tmp_path, KEY, Pair(1.0, object()))
    assert stored(tmp_path, KEY, [Pair]) is None
    assert [record.getMessage() for record in caplog.records] == [
        "study: no file holds a value of the type builtins.object. Answers are not kept."
    ]


def test_another_rule_of_a_named_population_is_another_question(tmp_path, asked):
    plan, panel = asked
    changed = replace(plan, question=plan.question | {"population": "big"})
    big, bigger = (replace(panel, populations={"big": f"x1>={least}"}) for least in (-1, 0))
    first = running.run(changed, big, jobs=1, cache=tmp_path)
    second = running.run(changed, bigger, jobs=1, cache=tmp_path)
    key = next(iter(first))
    assert first[key].n_units > second[key].n_units
    assert same(second, running.run(changed, bigger, jobs=1))


@pytest.mark.parametrize(
    "change",
    [
        {"name": "other"},
        {"period": "rank", "period_names": tuple(f"wave {t}" for t in range(8))},
        {"populations": {"x": "all"}},
        {"covariates": {}},
    ],
)
def test_what_is_not_in_a_panels_checksum_is_in_the_key(asked, change):
    panel = asked[1]
    assert answer_key("q", panel_state(panel)) == answer_key("q", panel_state(replace(panel)))
    assert answer_key("q", panel_state(panel)) != answer_key("q", panel_state(replace(panel, **change)))
    order = dict(reversed(panel.outcomes.items()))
    turned = replace(panel, outcomes=order)
    assert turned.checksum == panel.checksum
    assert answer_key("q", panel_state(panel)) != answer_key("q", panel_state(turned))


def test_versions_are_found_whatever_the_spelling_of_a_name():
    found = dict(code_state.versions(("Scikit_Learn", "lightgbm")))
    assert set(found) >= {"python", "scikit-learn", "lightgbm", "numpy", "joblib"}
    assert all(found.values())
    assert not any("_" in name or "." in name for name in found)
    assert dict(code_state.versions(("of-no-such-package",)))["of-no-such-package"] == ""


@pytest.mark.parametrize("package", ["statsmodels", "econml", "pandas", "linearmodels", "numba", "Python"])
def test_another_version_of_what_numbers_are_made_with_is_a_miss(package, monkeypatch):
    before, fit = answer_key("q"), fits.code_of_learners()
    if package == "Python":
        monkeypatch.setattr(sys, "version", "3.99")
    else:
        real = code_state.distribution

        def other(name):
            found = real(name)
            return (
                type("Other", (), {"version": "0", "requires": found.requires}) if name == package else found
            )

        monkeypatch.setattr(code_state, "distribution", other)
    for function in (code_state.versions, fits.code_of_learners):
        function.cache_clear()
    try:
        assert answer_key("q") != before
        assert fits.code_of_learners() != fit
    finally:
        monkeypatch.undo()
        for function in (code_state.versions, fits.code_of_learners):
            function.cache_clear()


def test_other_code_that_a_fit_calls_is_a_miss(monkeypatch):
    """Learners call study.core beside their own package, and nothing else of the study."""
    folders = []
    monkeypatch.setattr(fits, "checksum", lambda *given: folders.extend(given) or "")
    fits.code_of_learners.cache_clear()
    try:
        fits.code_of_learners()
    finally:
        fits.code_of_learners.cache_clear()
    texts = [Path(fits.__file__).with_name(f"{name}.py").read_text() for name in ("forest", "named")]
    called = {room for text in texts for room in re.findall(r"from study\.(\w+)", text)}
    assert called <= {folder.name for folder in folders} == {"learners", "core"}


OTHERS = """
from study.designs import Assumes, Estimand, design
from study.designs.twfe import twfe
from {package}.helper import SHIFT

@design(name="theirs", title="Theirs", reference="none", estimand=Estimand.COEFFICIENT,
        assumes=(Assumes.PARALLEL_TRENDS,), supports=twfe.supports)
def theirs(sample):
    from dataclasses import replace
    fit = twfe.function(sample)
    return replace(fit, effect_level=fit.effect_level + SHIFT)
"""


CACHED = (study.designs._import_all, study.designs.entries, code_state.code_of, code_state.versions)


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Return a function that installs a distribution with a design, in the place of the one before."""
    monkeypatch.setattr(study.designs, "_registered", dict(study.designs._registered))
    monkeypatch.syspath_prepend(tmp_path)

    def install(shift, version="1.0"):
        for path in (tmp_path / "theirs_pkg", *tmp_path.glob("*.dist-info")):
            shutil.rmtree(path, ignore_errors=True)
        (tmp_path / "theirs_pkg").mkdir()
        (tmp_path / "theirs_pkg/__init__.py").write_text(OTHERS.format(package="theirs_pkg"))
        (tmp_path / "theirs_pkg/helper.py").write_text(f"SHIFT = {shift}\n")
        info = tmp_path / f"theirs-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: theirs\nVersion: {version}\n")
        (info / "entry_points.txt").write_text("[study.designs]\ntheirs = theirs_pkg:theirs\n")
        for name in [name for name in sys.modules if name.startswith("theirs_pkg")]:
            del sys.modules[name]
        for function in CACHED:
            function.cache_clear()
        importlib.invalidate_caches()
        sys.dont_write_bytecode, before = True, sys.dont_write_bytecode
        assert any(entry.name == "theirs" for entry in entry_points(group="study.designs"))
        find_design("theirs")
        sys.dont_write_bytecode = before

    yield install
    monkeypatch.undo()
    for function in CACHED:
        function.cache_clear()


def test_another_state_of_a_design_from_elsewhere_is_a_miss(tmp_path, installed, monkeypatch):
    installed(0)
    plan, panel = small_plan(tmp_path, **{'name = "twfe"\nlabel = "TWFE"': 'name = "theirs"\nlabel = "TH"'})
    (key,) = {key for key in (task.key for task in plan.tasks()) if key[1] == "log1p" and key[3] == "TH"}
    folder, made = tmp_path / "cache", df_k(monkeypatch)
    first = running.run(plan, panel, jobs=1, cache=folder)
    n = len(made)
    running.run(plan, panel, jobs=1, cache=folder)
    assert len(made) == n
    installed(10)  # another file of its package than the one of the design
    shifted = running.run(plan, panel, jobs=1, cache=folder)
    assert shifted[key].headline.estimate == pytest.approx(first[key].headline.estimate + 10)
    before = answer_key("q")
    installed(10, "1.1")
    assert answer_key("q") != before


def test_answers_of_a_session_with_its_own_design_are_not_kept(tmp_path, asked, monkeypatch):
    monkeypatch.setattr(study.designs, "_registered", dict(study.designs._registered))
    twfe, shift = find_design("twfe"), [0]

    def own(sample):
        fit = twfe.function(sample)
        return replace(fit, effect_level=fit.effect_level + shift[0])

    asks = {"reference": "", "estimand": twfe.estimand, "assumes": twfe.assumes, "supports": twfe.supports}
    design(name="twfe", title="Mine", **asks)(own)
    plan, panel = asked
    first = running.run(plan, panel, jobs=1, cache=tmp_path)
    shift[0] = 10
    second = running.run(plan, panel, jobs=1, cache=tmp_path)
    key = ("sim1", "log1p", "count", "TWFE")
    assert second[key].headline.estimate == pytest.approx(first[key].headline.estimate + 10)
    assert [*tmp_path.glob("*.answer")] == []


@pytest.mark.parametrize(
    ("plan", "folder"),
    [
        ("checkout/paper/study.toml", "checkout/build/cache"),
        ("mine/study.toml", "mine/build/cache"),
        (None, "user/answers"),
        (Path(study.designs.__file__).parents[1] / "paper/study.toml", "user/answers"),
    ],
)
def test_the_folder_is_where_the_plan_is_and_never_where_the_user_happens_to_be(
    tmp_path, monkeypatch, plan, folder
):
    monkeypatch.setenv("STUDY_CACHE", str(tmp_path / "user"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert folder_of(None if plan is None else tmp_path / plan) == tmp_path / folder


def test_commands_keep_what_they_find_where_the_plan_is(tmp_path, monkeypatch):
    monkeypatch.setenv("STUDY_CACHE", str(tmp_path / "user"))
    for name in ("elsewhere", "mine"):
        (tmp_path / name).mkdir()
    small_plan(tmp_path / "mine")
    monkeypatch.chdir(tmp_path / "elsewhere")
    seen = []
    monkeypatch.setattr(
        paper_commands, "of_plan", lambda *_, **__: seen.append(current_settings().cache) or []
    )
    monkeypatch.setattr(
        paper_commands, "of_panel", lambda *_, **__: seen.append(current_settings().cache) or []
    )
    own = ["--panel", str(PANEL), "--outcome", "y", "--event", "first_treated"]
    for given_ in (["sim1", "--plan", "../mine/study.toml"], own, [*own, "--cache", "here"]):
        done = CliRunner().invoke(app, ["table", *given_, "--designs", "twfe"])
        assert done.exit_code == 0, done.output
    assert seen == [tmp_path / "mine/build/cache/fits", tmp_path / "user/answers/fits", Path("here/fits")]
    assert [*(tmp_path / "elsewhere").iterdir()] == []


def problem(**changes):
    rng = np.random.default_rng(0)
    x, target, order = rng.normal(size=(40, 2)), rng.normal(size=40), np.arange(40)
    train = order % 2 == 0
    return Problem(x, np.zeros(40, dtype=np.int64), target, order, train, ~train, 3)._replace(**changes)


def test_a_fit_has_the_key_of_its_rows_learner_and_settings():
    from sklearn.linear_model import Lasso, Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    given_ = problem()
    asks = [
        *((given_, learner, kind) for learner in ("lasso", "forest") for kind in ("mean", "probability")),
        *(
            (given_, learner, "mean")
            for learner in (Ridge(), Lasso(), Ridge(alpha=2), Ridge(alpha=2 + 1e-12))
        ),
        *((given_, make_pipeline(StandardScaler(), Ridge(alpha)), "mean") for alpha in (1, 2)),
        *(
            (problem(**{part: getattr(given_, part)[::-1].copy()}), "lasso", "mean")
            for part in ("x", "target")
        ),
        (problem(seed=4), "lasso", "mean"),
    ]
    keys = [fit_key(*each) for each in asks]
    assert None not in keys
    assert len(set(keys)) == len(keys)
    assert keys == [fit_key(*each) for each in asks]


class Script:
    """An estimator of a script, of which nobody knows what it calls."""

    def get_params(self, deep=True):
        return {}


def test_a_fit_of_which_not_all_is_known_has_no_key():
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer

    for learner in (
        Script(),
        RandomForestRegressor(random_state=np.random.RandomState(1)),
        make_pipeline(FunctionTransformer(np.log1p), Ridge()),
    ):
        assert fit_key(problem(), learner, "mean") is None


def test_damaged_fits_are_learned_anew(tmp_path, asked, monkeypatch):
    panel = asked[1]
    question = Question("y", "first_treated", covariates=("x1",))
    options = {"learner": "linear", "folds": 2, "repetitions": 1}
    calls, learned = [], fits.learned
    monkeypatch.setattr(fits, "learned", lambda *a: calls.append(1) or learned(*a))
    with settings(cache=tmp_path):
        first = estimate(panel, question, "dml_panel", **options)
        n = len(calls)
        for i, path in enumerate(sorted(tmp_path.glob("*.answer"))):
            content = bytearray(path.read_bytes())
            content[-20 - i] ^= 16
            path.write_bytes(content)
        again = estimate(panel, question, "dml_panel", **options)
        assert len(calls) == 2 * n
        path = next(tmp_path.glob("*.answer"))
        path.unlink()
        keep(tmp_path, path.stem, np.zeros(3))  # verified, and yet no predictions of these rows
        last = estimate(panel, question, "dml_panel", **options)
    assert len(calls) == 2 * n + 1
    assert same(again.effect_level, first.effect_level)
    assert same(last.effect_level, first.effect_level)


def test_other_shipped_data_are_other_exhibits(tmp_path, asked, answers, monkeypatch):
    results, exhibited, folder = answers
    made = df_k(monkeypatch)
    monkeypatch.setattr(running, "_shipped_data", lambda: "another checksum")
    shutil.copytree(folder, tmp_path / "copy")
    again = running.exhibit(*asked, results, jobs=1, cache=tmp_path / "copy")
    assert same(again.exhibited, exhibited)
    assert sorted(made) == sorted(exhibited)


def test_a_checksum_of_folders_is_of_names_and_contents_but_not_of_compiled_files(tmp_path):
    (tmp_path / "__pycache__").mkdir()
    file = tmp_path / "a.py"
    file.write_text("1")
    seen = [code_state.checksum(tmp_path)]
    (tmp_path / "__pycache__" / "a.pyc").write_text("compiled")
    assert code_state.checksum(tmp_path) == seen[0]
    file.write_text("2")
    seen.append(code_state.checksum(tmp_path))
    file.rename(tmp_path / "b.py")
    seen.append(code_state.checksum(tmp_path))
    assert len({*seen}) == 3
