"""The index: what is in it, that an edit of a person's survives, and what is said of a broken one."""

from datetime import date

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from requant.errors import RequantError
from requant.originals import INDEX_NAME, Entry, lock_original, locked_originals, read_index, read_lock, verify_all
from requant.originals.index import write_entry
from tests.originals.folders import overwrite, state
from tests.workflow.project import REPOSITORY

MIT = Entry("https://example.org", "MIT", date(2026, 1, 31), "a net")


def index(folder, text):
    (folder / INDEX_NAME).write_text(text)
    return folder


def test_a_folder_without_an_index_has_no_entries(tmp_path):
    assert read_index(tmp_path) == {}
    assert read_index(index(tmp_path, "")) == {}
    assert read_index(index(tmp_path, "# nothing yet\n")) == {}


def test_an_entry_is_plain_yaml(folder):
    (folder / "new.mlmodel").write_bytes(b"new")
    lock_original(folder / "new.mlmodel", MIT)
    assert yaml.safe_load((folder / INDEX_NAME).read_text()) == {
        "new.mlmodel": {
            "description": "a net", "origin": "https://example.org", "licence": "MIT", "locked": date(2026, 1, 31)
        }
    }  # fmt: skip
    assert read_index(folder) == {"new.mlmodel": MIT}


def test_without_an_entry_no_index_is_made(folder):
    assert not (folder / INDEX_NAME).exists()


def test_what_a_person_wrote_stays_as_it_is(folder):
    mine = "# mine\nnet.mlpackage: {licence: MIT} # checked\n\n# below\n"
    text = f"{mine}net.mlmodel:\n  origin: a\n    b\n  # why\n"
    index(folder, text)
    write_entry(folder, "new.mlmodel", Entry(licence="0BSD"))
    assert (folder / INDEX_NAME).read_text() == f"{text}new.mlmodel:\n  licence: 0BSD\n"
    write_entry(folder, "net.mlmodel", Entry("a b", "MIT"))
    changed = "net.mlmodel:\n  origin: a b\n  licence: MIT\n  # why\n"
    assert (folder / INDEX_NAME).read_text() == f"{mine}{changed}new.mlmodel:\n  licence: 0BSD\n"
    write_entry(folder, "net.mlpackage", Entry(licence="Apache-2.0"))
    assert "# mine\nnet.mlpackage:\n  licence: Apache-2.0 # checked\n" in (folder / INDEX_NAME).read_text()


texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=40)
entries = st.builds(Entry, texts, texts, st.none() | st.dates(), texts)
names = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=20)


@settings(max_examples=40)
@given(st.lists(st.tuples(names, entries), max_size=6))
def test_what_is_written_is_read_again(tmp_path_factory, pairs):
    folder = tmp_path_factory.mktemp("index")
    for name, entry in pairs:
        write_entry(folder, name, entry)
    assert read_index(folder) == dict(pairs)


def test_more_is_added_to_what_is_known_of_a_locked_original(folder):
    lock_original(folder / "net.mlmodel", Entry(licence="MIT", locked=date(2026, 1, 1)))
    assert read_index(folder) == {"net.mlmodel": Entry(licence="MIT")}  # when it was locked is not known
    lock_original(folder / "net.mlmodel", Entry(origin="here"))
    assert read_index(folder) == {"net.mlmodel": Entry("here", "MIT")}
    before = state(folder)
    lock_original(folder / "net.mlmodel", Entry(locked=date(2026, 1, 1)))
    assert state(folder) == before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "is no YAML"),
        ("a: {locked: 2026-13-45}", "is no YAML"),
        ("- a", "has to hold an entry for each original"),
        ("a: {}\na: {}", "has two entries for a"),
        ("a: 3", "a has to have the keys description, origin, licence, locked"),
        ("a: {license: MIT}", "a has the unknown key 'license'; there are description, origin, licence, locked"),
        ("a: {licence: 2.0}", "licence of a has to be text, not 2.0; put it in quotes"),
        ("a: {locked: yesterday}", "locked of a has to be a date as 2026-01-31, not 'yesterday'"),
        ("1: {}", "the entry 1 has to be the name of an original; put it in quotes"),
        ("a: !!python/object/apply:os.system [x]", "is no YAML"),
        ("? {a: 1}\n: {}", "is no YAML"),
        ("[" * 500, "is no YAML"),
    ],
)
def test_a_broken_index_is_told_and_stops_a_lock_before_anything_is_written(folder, text, message):
    index(folder, text)
    (folder / "new.mlmodel").write_bytes(b"new")
    before = state(folder)
    for function in (read_index, lambda folder: lock_original(folder / "new.mlmodel", MIT)):
        with pytest.raises(RequantError) as caught:
            function(folder)
        assert str(folder / INDEX_NAME) in str(caught.value)
        assert message in str(caught.value)
    assert state(folder) == before
    (problem,) = verify_all(folder).all_problems
    assert message in problem


@pytest.mark.parametrize("text", ["{net.mlpackage: {licence: MIT}}\n", "net.mlpackage: {licence: MIT}\n...\n"])
def test_an_index_without_a_place_for_an_entry_is_left_as_it_is(folder, text):
    index(folder, text)
    with pytest.raises(RequantError, match=r"Write it yourself:\nnet.mlmodel:\n  description: a net"):
        lock_original(folder / "net.mlmodel", MIT)
    assert (folder / INDEX_NAME).read_text() == text


def test_an_entry_for_what_is_not_locked_is_told(folder):
    index(folder, "net.mlmodle: {licence: MIT}\nnet.mlpackage: {licence: MIT}\n")
    (problem,) = verify_all(folder).all_problems
    assert "index.yaml has an entry for net.mlmodle, which is not locked" in problem


def test_a_changed_original_is_told_with_what_the_index_says(folder):
    lock_original(folder / "net.mlmodel", Entry(licence="MIT"))
    overwrite(folder / "net.mlmodel", b"other")
    finding = verify_all(folder).originals[0]
    assert finding.entry == Entry(licence="MIT")
    assert len(finding.problems) == 1


def test_the_shipped_originals_have_entries():
    folder = REPOSITORY / "models_original"
    assert verify_all(folder).all_problems == []
    known = read_index(folder)
    for original in locked_originals(read_lock(folder)):
        entry = known[original.name]
        assert entry.origin
        assert entry.licence
        assert entry.locked
