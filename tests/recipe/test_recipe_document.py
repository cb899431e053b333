"""YAML text as plain values: against ruamel.yaml's own loader, and what is refused."""

from __future__ import annotations

import math

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML
from test_recipe import FILE, STUDY

from mgsflow.errors import RecipeError
from mgsflow.recipe import parse
from mgsflow.recipe.document import read_document

SCALARS = [
    *("1", "-1", "+1", "010", "0x1F", "0o17", "0b11", "1_000", "0.5", ".5", "1e-3", "1.5e+3", "-.inf", "1.", "1e3"),
    *("true", "True", "FALSE", "yes", "no", "on", "null", "~", "''", "'1'", '"a\\tb"', "text", "a b", "2020-01-02x"),
    *("[1, [2, a]]", "{a: 1, b: {c: []}}", "|\n  x\n  y\n", ">\n  x\n  y\n", "!!str 3", "12e03", "1:30"),
]


@pytest.mark.parametrize("scalar", SCALARS)
def test_values_are_those_of_another_loader(scalar):
    text = f"key: {scalar}"
    assert read_document(text, FILE).values == YAML(typ="safe", pure=True).load(text)


def test_lines_are_where_things_are_written():
    lines = read_document(STUDY, FILE).lines
    for at, part in [
        (("block",), "block:"),
        (("block", 1), "block:"),
        (("specimens", "cathode", "scans", 1), "- {name: after_1"),
        (("specimens", "cathode", "scans", 1, "cycle"), "- {name: after_1"),
        (("specimens", "separator", "scans", 0, "options", "dtype"), "options:"),
    ]:
        assert lines[at] == STUDY[: STUDY.index(part)].count("\n") + 1


def test_a_few_aliases_are_fine():
    values = read_document("a: &x [1, 2]\nb: *x\nc: &x 3\nd: *x\n", FILE).values
    assert values == {"a": [1, 2], "b": [1, 2], "c": 3, "d": 3}


BOMB = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12)
)

REFUSED = [
    ("", "is empty: write a study into it"),
    ("# only a comment\n", "is empty: write a study into it"),
    ("a:\n\tb: 1", ":2: a line starts with a tab: indent with spaces"),
    ("a: 1\n b: 2", ":2: is not YAML (mapping values are not allowed here, column 3): check the indentation"),
    ("a: 'x", ":1: is not YAML ("),
    ("a: [1, 2", "is not YAML ("),
    ("a: *x", ":1: is not YAML (found undefined alias 'x'"),
    ("a: 1\nb: 2\na: 3", ":3: a: is given twice, first on line 1: delete one"),
    ("s:\n  a: 1\n  a: 1", ":3: s.a: is given twice, first on line 2"),
    (
        "a: !!python/object/apply:os.system [ls]",
        ":1: a: has the tag !!python/object/apply:os.system: tags are not read",
    ),
    ("a: !!python/name:os.system", ":1: a: has the tag !!python/name:os.system"),
    ("a:\n  - !mine {b: 1}", ":2: a[0]: has the tag !mine"),
    ("!!set {a, b}", ":1: has the tag !!set"),
    ("a: !!binary aGk=", ":1: a: has the tag !!binary"),
    ("<<: {a: 1}", ":1: merge keys (<<) are not read: put what specimens share under `defaults:`"),
    ("? [1, 2]\n: 3", ":1: a key must be a plain word"),
    ("a: 1\n---\nb: 2", ":2: holds more than one YAML document"),
    ("a: 1\nb: \x07", ":2: holds a character that YAML does not allow (U+0007)"),
    ("a: &a [*a]", "is nested more than 20 deep: look for an alias (*name) inside itself"),
    ("a: &a {b: *a}", "is nested more than 20 deep"),
    ("[" * 5000, "is nested too deeply"),
    ("a: " + "x" * 1_000_001, "is longer than 1,000,000 characters"),
    (BOMB, "stands for more than 50,000 values: do not nest aliases"),
]


@pytest.mark.parametrize(("text", "message"), REFUSED, ids=[r[1][:50] for r in REFUSED])
def test_what_has_no_place_in_a_study_file_is_refused(text, message):
    with pytest.raises(RecipeError) as caught:
        read_document(text, FILE)
    assert str(caught.value).startswith(str(FILE))
    assert message in str(caught.value)
    assert len(str(caught.value)) < 400


def survives(text: str) -> None:
    try:
        recipe = parse(text, FILE)
    except RecipeError as error:
        said = str(error)
    else:
        said = f"{FILE} {recipe.digest()}"
    assert said.startswith(str(FILE))
    assert len(said) < 20_000


LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(["median", "0.1 nm", "a/b", "~x", "\0", "{x}", "%", 10**400, -(10**400), "pristine", "study"]),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def places(value, at=()):
    """Every place in nested values."""
    yield at
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield from places(child, (*at, key))


PLAIN = read_document(STUDY, FILE).values | {"defaults": {"filter": ["median"], "correct": {"drift": {"smooth": 3}}}}
PLACES = [at for at in places(PLAIN) if at]


def dumped(value) -> str:
    """Write values as flow YAML, by hand: numbers and texts as Python shows them are what people might type."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{quoted(k)}: {dumped(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(dumped, value)) + "]"
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    if isinstance(value, float) and not math.isfinite(value):
        return {"nan": ".nan", "inf": ".inf", "-inf": "-.inf"}[repr(value)]
    if isinstance(value, int) and abs(value) >= 10**400:
        return ("-" if value < 0 else "") + "9" * 401
    return quoted(value) if isinstance(value, str) else repr(value)


def quoted(text: str) -> str:
    return '"' + "".join(c if c.isalnum() and c.isascii() else f"\\U{ord(c):08X}" for c in text) + '"'


def edited(value, at, edit):
    """Return nested values with what `edit` makes of the container and key at a place."""
    value = dict(value) if isinstance(value, dict) else list(value)
    if len(at) == 1:
        edit(value, at[0])
    else:
        value[at[0]] = edited(value[at[0]], at[1:], edit)
    return value


def test_the_document_that_is_mutated_is_good():
    assert parse(dumped(PLAIN), FILE).specimens["separator"].correct.drift.smooth == 3


@given(st.sampled_from(PLACES), VALUES)
@settings(max_examples=400, deadline=None)
def test_any_value_anywhere_is_taken_or_refused(at, value):
    survives(dumped(edited(PLAIN, at, lambda inside, key: inside.__setitem__(key, value))))


@given(st.lists(st.sampled_from(PLACES), min_size=1, max_size=3), st.text(max_size=10), VALUES)
@settings(max_examples=200, deadline=None)
def test_dropped_and_added_keys_are_taken_or_refused(drop, key, value):
    plain = PLAIN
    for at in drop:
        try:
            plain = edited(plain, at, lambda inside, key: inside.__delitem__(key))
            if isinstance(value, (dict, str)) and len(at) > 1:
                plain = edited(plain, (*at[:-1], key), lambda inside, key: inside.__setitem__(key, value))
        except (KeyError, IndexError, TypeError):
            continue  # it went with a drop before
    survives(dumped(plain))


@given(st.integers(0, len(STUDY)), st.integers(0, 12), st.text(max_size=12))
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@example(0, 0, "%YAML 1.1\n---\n")
@example(0, 0, "%TAG ! x\n---\n")
@example(0, 0, '"\\U99999999": ')
@example(0, 0, "\ufeff")
def test_text_that_is_cut_and_scribbled_on_is_taken_or_refused(start, cut, scribble):
    survives(STUDY[:start] + scribble + STUDY[start + cut :])


@given(st.text(alphabet=" \n\t:-[]{}&*!|>'\"%@`#,?~0a.\\x\u2028\x85", max_size=60))
@settings(max_examples=300, deadline=None)
def test_text_of_yaml_signs_is_taken_or_refused(text):
    survives(text)
    survives(f"study: x\nspecimens:\n  a: {text}")
