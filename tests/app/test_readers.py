"""Users' files are read exactly as they stand, or refused with a sentence that says where and why."""

import csv
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinynet.readers import DataError, one_hot, read_csv, read_npz, row_counters


@pytest.fixture
def table(tmp_path):
    """A function that writes text (or bytes) to a CSV file and reads it."""

    def read(content, *arguments, **options):
        path = tmp_path / "table.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_csv(path, *arguments, **options)

    return read


@pytest.fixture
def archive(tmp_path):
    """A function that writes arrays to an NPZ file and reads it."""

    def read(_target=None, _task="auto", **arrays):
        np.savez(tmp_path / "data.npz", **arrays)
        return read_npz(tmp_path / "data.npz", _target, _task)

    return read


def refused(sentence):
    return pytest.raises(DataError, match=re.escape(sentence))


# CSV that is read -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        "a,b,kind\n1,2.5,cat\n-3,4e2,dog\n",
        "a;b;kind\n1;2.5;cat\n-3;4e2;dog\n",
        "a\tb\tkind\n1\t2.5\tcat\n-3\t4e2\tdog\n",
        "\ufeffa,b,kind\n1,2.5,cat\n-3,4e2,dog\n",
        "a,b,kind\r\n1,2.5,cat\r\n-3,4e2,dog\r\n",
        "a,b,kind\r1,2.5,cat\r-3,4e2,dog\r",
        "a,b,kind\n1,2.5,cat\n-3,4e2,dog",
        '"a","b","kind"\n"1","2.5","cat"\n"-3","4e2","dog"\n',
        "\n\na,b,kind\n\n1,2.5,cat\n , ,\n-3,4e2,dog\n\n\n",
        "\n\na;b;kind\n1;2.5;cat\n-3;4e2;dog\n",
        " a , b , kind \n 1 , 2.5 , cat \n -3 , 4e2 , dog \n",
        'a, "b", "kind"\n1, 2.5, "cat"\n-3, "4e2", "dog"\n',
    ],
    ids=[
        "comma",
        "semicolon",
        "tab",
        "bom",
        "windows",
        "old-mac",
        "no-last-newline",
        "quotes",
        "blank",
        "blank-first",
        "spaces",
        "spaced-quotes",
    ],
)
def test_dialects(table, content):
    data = table(content)
    assert data.x.tolist() == [[1, 2.5], [-3, 400]]
    assert (data.y.tolist(), data.classes, data.features) == ([0, 1], ["cat", "dog"], ["a", "b"])
    assert (data.name, data.task, data.outputs, data.raw_units) == ("table", "classification", 2, True)


def test_separators_inside_quotes_are_text(table):
    data = table('"a,b,c";y\n1;"p,q"\n2;"r;""s"""\n')
    assert (data.features, data.classes) == (["a,b,c"], ["p,q", 'r;"s"'])


def test_any_column_may_be_the_target(table):
    data = table("kind,a,b\ncat,1,2\ndog,3,4\n", "kind")
    assert (data.x.tolist(), data.classes, data.features) == ([[1, 2], [3, 4]], ["cat", "dog"], ["a", "b"])


def test_few_whole_numbers_are_classes_in_numerical_order(table):
    data = table("a,y\n1,10\n2,9\n3,-1\n4,10\n")
    assert (data.task, data.classes, data.y.tolist()) == ("classification", ["-1", "9", "10"], [2, 1, 0, 2])
    assert data.y.dtype.kind == "i"


def test_equal_numbers_are_one_class(table):
    data = table("a,y\n1,1\n2,1.0\n3,01\n4,0\n5,1e0\n")
    assert (data.classes, data.y.tolist()) == (["0", "1"], [1, 1, 1, 0, 1])


def test_large_whole_numbers_are_not_confused(table):
    data = table(f"a,y\n1,{2**60}\n2,{2**60 + 1}\n", None, "classification")
    assert data.classes == [str(2**60), str(2**60 + 1)]


@pytest.mark.parametrize(("kinds", "task"), [(20, "classification"), (21, "regression")])
def test_more_than_twenty_whole_numbers_are_a_regression(table, kinds, task):
    assert table("a,y\n" + "".join(f"{i},{i % kinds}\n" for i in range(60))).task == task


def test_fractions_are_a_regression(table):
    data = table("a,y\n1,0.5\n2,1\n")
    assert (data.task, data.y.tolist(), data.outputs, data.classes) == ("regression", [[0.5], [1]], 1, [])


def test_the_task_can_be_chosen(table):
    assert table("a,y\n1,0\n2,1\n", task="regression").y.tolist() == [[0], [1]]
    assert table("a,y\n1,0.5\n2,1.5\n", task="classification").classes == ["0.5", "1.5"]


def test_numbers_keep_their_precision(table):
    data = table("seconds,y\n1700000000.25,p\n1700000060.5,q\n")
    assert data.x.tolist() == [[1700000000.25], [1700000060.5]]


names = st.text("abcdefghij äß.\"'", min_size=1).map(lambda s: "n" + s.strip())
cells = st.floats(-1e30, 1e30) | st.integers(-(10**9), 10**9)
labels = st.text('xyz,; \n\r\t"0é\u2028\x0b', min_size=0, max_size=6).map(lambda s: f"k{s}k")


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_what_the_csv_module_writes_reads_back_exactly(tmp_path_factory, data):
    header = data.draw(st.lists(names, min_size=2, max_size=5, unique=True))
    row = st.tuples(st.lists(cells, min_size=len(header) - 1, max_size=len(header) - 1), labels)
    rows = data.draw(st.lists(row, min_size=2, max_size=8))
    rows[0], rows[1] = (rows[0][0], "one"), (rows[1][0], "two")
    path = tmp_path_factory.mktemp("csv") / "table.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter=data.draw(st.sampled_from(",;\t")), quoting=data.draw(st.sampled_from([0, 1])))
        writer.writerows([header, *([*numbers, label] for numbers, label in rows)])
    read = read_csv(path)
    assert read.features == header[:-1]
    assert read.x.tolist() == [[float(number) for number in numbers] for numbers, _ in rows]
    assert [read.classes[i] for i in read.y] == [label for _, label in rows]


# Columns of text, and columns left out ---------------------------------------------------------------------------------

CARS = "colour,doors,id,kind\nred,2,x1,sport\nblue,4,x2,family\n red ,2,x3,sport\nÉcru,4,x4,family\n"


def test_text_becomes_a_column_per_category_after_the_numbers(table):
    data = table(CARS, drop=["id"])
    assert data.features == ["doors", "colour=blue", "colour=red", "colour=Écru"]  # sorted by code point
    assert data.x.tolist() == [[2, 0, 1, 0], [4, 1, 0, 0], [2, 0, 1, 0], [4, 0, 0, 1]]
    assert (data.categories, data.numbers, data.x.dtype) == ({"colour": ["blue", "red", "Écru"]}, 1, np.float64)
    assert (data.classes, data.y.tolist()) == (["family", "sport"], [1, 0, 1, 0])


def test_text_alone_and_several_columns_of_it(table):
    data = table("a,b,y\nu,yes,1.5\nv,no,2.5\n")
    assert data.features == ["a=u", "a=v", "b=no", "b=yes"]
    assert (data.x.tolist(), data.numbers) == ([[1, 0, 0, 1], [0, 1, 1, 0]], 0)


def test_categories_are_learnt_from_some_of_the_rows(table):
    data = table("a,size,b,y\nu,1,s,1\nv,0,s,2\nw,3,t,1\nv,4,t,2\n")
    learnt = data.with_categories_of(np.array([1, 3]))
    assert learnt.categories == {"a": ["v"], "b": ["s", "t"]}
    assert learnt.features == ["size", "a=v", "b=s", "b=t"]  # a number that is 0 in some rows stays
    assert learnt.x.tolist() == [[1, 0, 1, 0], [0, 1, 1, 0], [3, 0, 0, 1], [4, 1, 0, 1]]
    assert data.with_categories_of(np.array([1])).features == ["size", "a=v", "b=s"]
    assert data.categories == {"a": ["u", "v", "w"], "b": ["s", "t"]}  # the data set itself is as it was


def test_data_without_text_have_no_categories_to_learn(archive):
    data = archive(x=np.zeros((3, 2)), y=np.array([0, 1, 0]))
    assert data.with_categories_of(np.array([0, 1])) is data  # not even copied
    assert (data.categories, data.numbers) == ({}, 2)


@given(st.lists(st.sampled_from("abcde")), st.lists(st.sampled_from("abcde"), unique=True))
def test_one_hot_marks_the_category_and_nothing_else(texts, categories):
    table = one_hot(texts, categories)
    assert table.shape == (len(texts), len(categories))
    assert table.tolist() == [[float(text == category) for category in categories] for text in texts]


def test_one_hot_agrees_with_scikit_learn():
    encoders = pytest.importorskip("sklearn.preprocessing")
    encoder = encoders.OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    known, new = [["red"], ["Écru"], ["blue"]], [["blue"], ["mauve"], ["red"], ["Écru"]]
    expected = encoder.fit(known).transform(new)
    names = sorted(text for (text,) in known)
    assert list(encoder.categories_[0]) == names
    assert one_hot([text for (text,) in new], names).tolist() == expected.tolist()


def test_columns_left_out(table):
    assert table(CARS, drop=["id", "colour"]).features == ["doors"]
    assert table(CARS, "doors", drop="kind").features == ["colour=blue", "colour=red", "colour=Écru", "id=x1", "id=x2",
                                                          "id=x3", "id=x4"]  # fmt: skip
    assert table("a,b,c,y\n1,,nan,3\n2,x,1,4\n", drop=["b", "c"]).x.tolist() == [[1], [2]]  # whatever they hold
    assert table("a,b,y\n1,5,p\n2,6,p\n", drop=["y"]).classes == ["5", "6"]  # the last column that is left


def test_columns_that_cannot_be_left_out(table):
    with refused("table.csv: unknown column 'di': did you mean 'id'? There are: colour, doors, id, kind"):
        table(CARS, drop=["di"])
    with refused("table.csv: the column 'doors' cannot be both dropped and the target"):
        table(CARS, "doors", drop=["doors"])
    with refused("table.csv has only the column 'kind': there are no inputs to learn from"):
        table(CARS, drop=["colour", "doors", "id"])
    with refused("table.csv has no column left: there are no inputs to learn from"):
        table("a,y\n1,p\n", drop=["a", "y"])


def words(count, rows):
    """A table of so many rows in which the column 'full name' has so many different texts."""
    return "full name,a,ticket,y\n" + "".join(f"n{i % count},{i},t{i % count},{i % 2}\n" for i in range(rows))


@pytest.mark.parametrize(("count", "rows"), [(11, 20), (30, 30), (51, 100), (1001, 3000)])
def test_names_and_identifiers_are_no_categories(table, count, rows):
    with refused(
        f"table.csv: text is learnt as categories that many rows share, but in {rows:,} rows there are {count:,} different "
        f"texts in 'full name', {count:,} different texts in 'ticket'. Leave out names and identifiers with "
        "--drop 'full name' --drop ticket"
    ):
        table(words(count, rows))
    assert table(words(count, rows), drop=["full name", "ticket"]).features == ["a"]


def targets(cells):
    return "a,price\n" + "".join(f'{i * i},"{cell}"\n' for i, cell in enumerate(cells))


@pytest.mark.parametrize("amount", ["{:,}", "£{}", "{} %", "$ {:,}.5"])
def test_amounts_that_are_no_numbers_are_no_classes(table, amount):
    cells = [amount.format(250000 + i) for i in range(21)] * 2
    with refused(
        f"table.csv: the target 'price' has 21 different texts, such as {cells[0]!r}, in 42 rows: no classes. "
        "Write numbers in digits, as 250000 or 12.5, without other signs and with a point before the decimals"
    ):
        table(targets(cells))
    assert len(table(targets(cells[:20])).classes) == 20


def test_a_class_for_each_row_is_none(table):
    with refused("the target 'price' has 11 different texts, such as 'n0', in 21 rows: no classes. Take another target"):
        table(targets(f"n{i % 11}" for i in range(21)))
    assert len(table(targets(f"n{i % 11}" for i in range(22))).classes) == 11
    with refused(
        "'price' has 30 different numbers in 30 rows: no classes. Predict the number: --task regression (in Python"
    ):
        table(targets(range(30)), task="classification")


def test_columns_that_count_the_rows(table):
    rows = [(7 + i, 2 * i, i % 5, 100 - i) for i in range(30)]
    text = "id,even,five,y\n" + "".join(f"{a},{b},{c},{d}\n" for a, b, c, d in rows)
    assert row_counters(table(text)) == ["id"]
    assert row_counters(table(text, drop="even,five")) == []  # the only input
    assert table(text, drop=["id,five"]).features == ["even"]


@pytest.mark.parametrize(("count", "rows"), [(10, 10), (10, 20), (11, 22), (50, 100), (1000, 2000)])
def test_categories_that_enough_rows_share(table, count, rows):
    assert table(words(count, rows)).x.shape == (rows, 1 + 2 * count)


# CSV that is refused --------------------------------------------------------------------------------------------------


def test_no_such_file(tmp_path):
    with refused(f"there is no file '{tmp_path / 'none.csv'}'"):
        read_csv(tmp_path / "none.csv")
    with refused(f"there is no file '{tmp_path / 'none.npz'}'"):
        read_npz(tmp_path / "none.npz")


def test_a_folder(tmp_path):
    (tmp_path / "folder.csv").mkdir()
    for read in (read_csv, read_npz):
        with refused("folder.csv' is a folder: name a CSV or NPZ file in it"):
            read(tmp_path / "folder.csv")


@pytest.mark.parametrize("content", ["", "\n\n  \n", "\ufeff"])
def test_an_empty_file(table, content):
    with refused("table.csv is empty"):
        table(content)


def test_a_header_alone(table):
    with refused("table.csv has a header but no rows of data"):
        table("a,b,y\n")


@pytest.mark.parametrize("first", ["1,2,3", "5.1,3.5,setosa", "cat,1,2", "1"])
def test_no_header(table, first):
    with refused(f"the first line must name the columns, but it holds numbers: {first.replace(',', ', ')}. Put a line"):
        table(f"{first}\n{first}\n")


def test_a_few_numbers_among_the_names_are_names(table):
    assert table("country,city,2019,2020\n1,2,3,p\n4,5,6,q\n").features == ["country", "city", "2019"]


def test_a_missing_column(table):
    with refused("unknown column 'prize': did you mean 'price'? There are: a, b, price"):
        table("a,b,price\n1,2,3.5\n", "prize")


def test_one_column_is_not_enough(table):
    with refused("table.csv has only the column 'y': there are no inputs to learn from"):
        table("y\n1\n2\n")


def test_two_columns_of_one_name(table):
    with refused("table.csv: 2 columns are called 'a': give each a name of its own"):
        table("a,b, a,y\n1,2,3,p\n")


@pytest.mark.parametrize(
    ("cell", "what"),
    [
        ("tall", "'tall' is not a finite number"),
        ("NA", "'NA' is not a finite number"),
        ("-inf", "'-inf' is not a finite number"),
        ("1_000", "'1_000' is not a finite number"),
        ("12 %", "'12 %' is not a finite number"),
        ('"1,5"', "'1,5' is not a finite number (write 1.5)"),
    ],
)
def test_a_cell_that_is_no_number_among_numbers(table, cell, what):
    throughout = "A column is of numbers or of text throughout: put it right, or leave it out with --drop 'b c'"
    with refused(f"table.csv, line 3, column 'b c': {what}, while line 2 holds a number. {throughout}"):
        table(f"a,b c,y\n1,2,p\n1,{cell},q\n")
    with refused(f"table.csv, line 2, column 'b c': {what}, while line 3 holds a number. {throughout}"):
        table(f"a,b c,y\n1,{cell},p\n1,2,q\n")


@pytest.mark.parametrize("cell", ['"1,5"', "1_000", "+12%", "INF", "01.02.2026"])
def test_what_is_meant_as_a_number_is_never_taken_for_text(table, cell):
    with refused("table.csv, line 2, column 'b': '" + cell.strip('"') + "' is not a finite number"):
        table(f"a,b,y\n1,{cell},p\n1,{cell},q\n")


@pytest.mark.parametrize("cell", ["", "  ", "nan", "NaN"])
def test_missing_values(table, cell):
    with refused(
        "table.csv: a value is missing in line 3, column 'b' (and in 1 other row), line 4, column 'c'. "
        "Fill in what is missing, leave out the row, or leave out the column with --drop b --drop c"
    ):
        table(f"a,b,c,y\n1,2,red,p\n1,{cell},blue,q\n1,{cell},{cell},q\n")
    with refused("a value is missing in line 3, column 'colour'. Fill in"):
        table(f"colour,y\nred,1\n{cell},2\n")


def test_of_many_columns_with_missing_values_five_are_named(table):
    columns = [f"c{i}" for i in range(7)]
    with refused("line 2, column 'c4', .... Fill in"):
        table(",".join([*columns, "y"]) + "\n" + ",".join(["", *[""] * 6, "1"]) + "\n")


def test_a_number_too_large_for_the_default_dtype(table):
    with refused("table.csv, data row 2, column 'a': 1e+300 is too large for float32"):
        table("a,y\n1,p\n1e300,q\n")
    with refused("table.csv, data row 2, column 'y': -1e+300 is too large for float32"):
        table("a,y\n1,0.5\n2,-1e300\n")


@pytest.mark.parametrize(
    ("before", "line"),
    [
        ("a,b,y\n1,2,p\n", 3),
        ("a,b,y\r\n1,2,p\r\n", 3),
        ("a,b,y\n\n\n1,2,p\n\n", 6),
        ('a,b,y\n1,2,"p\nand\nmore"\n', 5),
        ('"a\nlong",b,y\r\n\r\n1,2,"p\r\nq"\r\n', 6),
        ('a,b,y\n1,2,"p\n\n"\n', 5),
        ("a,b,y\n1,2,p\x0b\x85\u2028\n", 3),
    ],
    ids=["plain", "windows", "blank", "quoted-newlines", "header-too", "quoted-blank-lines", "other-line-ends"],
)
def test_line_numbers_are_those_of_an_editor(table, before, line):
    with refused(f"table.csv, line {line}, column 'b': 'oops' is not a finite number"):
        table(before + '1,oops,"q\nr"\n')
    with refused(f"table.csv, line {line}: 2 fields, but the header has 3"):
        table(before + "1,2\n1,2,q\n")


@pytest.mark.parametrize(("row", "fields"), [("1", "1 field"), ("1,2,3,q", "4 fields")])
def test_a_ragged_row(table, row, fields):
    with refused(f"table.csv, line 3: {fields}, but the header has 3"):
        table(f"a,b,y\n1,2,p\n{row}\n")


@pytest.mark.parametrize(("cell", "what"), [("", "empty"), ("NaN", "NaN"), ("inf", "inf")])
def test_a_missing_target(table, cell, what):
    with refused(f"table.csv, line 4: the target 'y' is {what}: fill it in or drop the row"):
        table(f"a,y\n1,2\n\n2,{cell}\n3,4\n")


def test_one_class_only(table):
    with refused("table.csv: every example has the target 'p': there is nothing to tell apart"):
        table("a,y\n1,p\n2,p\n")
    with refused("table.csv: every example has the target 2.5: there is nothing to learn"):
        table("a,y\n1,2.5\n2,2.5\n")


def test_a_text_target_is_no_regression(table):
    with refused("table.csv, line 3: the target 'y' is 'tall', not a number, so it is no regression"):
        table("a,y\n1,2\n2,tall\n", task="regression")


def test_an_unknown_task(table):
    with refused("task must be auto, classification or regression, got 'clustering'"):
        table("a,y\n1,2\n2,3\n", task="clustering")


@pytest.mark.parametrize(
    "content", [b"\x89PNG\r\n\x1a\n\xff\xfe\x00", "a,y\n1,2\n".encode("utf-16"), "größe,y".encode("latin-1")]
)
def test_a_binary_file(table, content):
    with refused("table.csv is not a table in UTF-8 text (byte "):
        table(content)


@pytest.mark.parametrize(("content", "line"), [('a,y\n1,p\n2,"q\n3,r\n', 3), ('a,y\n1,"p"x\n', 2)])
def test_quotes_that_do_not_match(table, content, line):
    with refused(f"table.csv, line {line}: the quotes do not match"):
        table(content)


# NPZ ------------------------------------------------------------------------------------------------------------------


def test_archives_of_classes(archive):
    x = np.arange(12.0).reshape(3, 2, 2)
    data = archive(x=x, y=np.array([3, 5, 3]))
    assert (data.x.shape, data.y.tolist(), data.classes) == ((3, 4), [0, 1, 0], ["3", "5"])
    assert archive(X=x, y=np.array([1.0, 0.0, 1.0])).classes == ["0", "1"]
    assert archive(X=x, y=np.array(["b", "a", "b"])).classes == ["a", "b"]
    assert archive(X=x, y=np.array([b"b", b"a", b"b"])).classes == ["a", "b"]
    assert archive(X=x, y=np.array([True, False, True])).classes == ["False", "True"]
    assert archive(X=x, y=np.array([[1], [0], [1]])).y.tolist() == [1, 0, 1]


def test_archives_of_targets(archive):
    x = np.arange(3)[:, None]
    assert archive(x=x, y=np.array([0.5, 1, 2])).y.tolist() == [[0.5], [1], [2]]
    assert archive(x=x, y=np.arange(6.0).reshape(3, 2)).outputs == 2
    assert archive(x=x, y=np.array([0, 1, 2]), _task="regression").y.shape == (3, 1)


def test_arrays_by_other_names(archive):
    pictures, kinds = np.eye(2), np.array([0, 1])
    assert archive("kinds", pictures=pictures, kinds=kinds).y.tolist() == [0, 1]
    with refused("data.npz holds the arrays pictures, kinds: name the targets' with --target; the inputs must be called x"):
        archive(pictures=pictures, kinds=kinds)
    with refused("data.npz holds the arrays a, b, kinds: name"):
        archive("kinds", a=pictures, b=pictures, kinds=kinds)
    with refused("data.npz holds the arrays (none): name"):
        archive()


class Trap:
    """Unpickling one of these is seen."""

    sprung = False

    def __reduce__(self):
        return setattr, (Trap, "sprung", True)


@pytest.mark.parametrize("name", ["x", "y"])
def test_objects_are_never_unpickled(archive, name):
    arrays = {"x": np.eye(2), "y": np.array([0, 1]), name: np.array([Trap(), Trap()], dtype=object)}
    with refused(
        "data.npz cannot be read as an archive of plain arrays: it holds Python objects, which are never unpickled"
    ):
        archive(**arrays)
    assert not Trap.sprung


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (np.array(["a", "b"]), np.array([0, 1])),
        (np.eye(2), np.zeros((2, 1, 1))),
        (np.eye(2), np.array(1.0)),
        (np.array(1.0), np.array([0, 1])),
        (np.eye(2) * 1j, np.array([0, 1])),
        (np.eye(2), np.array([1j, 2])),
    ],
    ids=["text", "3-D", "0-D-y", "0-D-x", "complex", "complex-y"],
)
def test_wrong_shapes_and_kinds(archive, x, y):
    got = f"got {x.dtype} {x.shape} and {y.dtype} {y.shape}"
    with refused(f"data.npz: expected numbers x [n, ...] and y [n] or [n, k], {got}"):
        archive(x=x, y=y)


@pytest.mark.parametrize("shape", [(0, 3), (2, 0)])
def test_archives_without_data(archive, shape):
    with refused(f"data.npz has no data: x has the shape {shape}"):
        archive(x=np.zeros(shape), y=np.arange(shape[0]))


def test_numbers_that_are_not_finite(archive):
    x = np.eye(3)
    x[1, 2] = np.nan
    with refused("data.npz, data row 2, column 2: nan is not a finite number: fill it in or drop the row"):
        archive(x=x, y=np.arange(3))
    with refused("data.npz, data row 1, column 0: 1e+300 is too large for float32"):
        archive(x=np.eye(3) * 1e300, y=np.arange(3))
    with refused("data.npz, data row 3: the target 'y' is nan: fill it in or drop the row"):
        archive(x=np.eye(3), y=np.array([1, 2, np.nan]))
    with refused("data.npz, data row 1, column 1: inf is not a finite number"):
        archive(x=np.eye(3), y=np.array([[1, np.inf]] * 3))


def test_classes_need_one_column(archive):
    with refused("data.npz: classes must have the shape [n], y has (2, 2)"):
        archive(x=np.eye(2), y=np.eye(2), _task="classification")


def test_files_that_are_no_archive(tmp_path):
    path = tmp_path / "data.npz"
    for content in (b"", b"hello", b"PK\x03\x04 and then nothing"):
        path.write_bytes(content)
        with refused("data.npz is not an NPZ archive: make one with np.savez('data.npz', x=..., y=...)"):
            read_npz(path)
    with path.open("wb") as file:
        np.save(file, np.eye(2))
    with refused("data.npz is not an NPZ archive"):
        read_npz(path)


def test_a_damaged_archive(tmp_path):
    path = tmp_path / "data.npz"
    for save in (np.savez, np.savez_compressed):
        save(path, x=np.arange(400.0).reshape(20, 20), y=np.arange(20))
        content = bytearray(path.read_bytes())
        content[200:260] = b"?" * 60
        path.write_bytes(content)
        with refused("data.npz cannot be read as an archive of plain arrays: "):
            read_npz(path)


def test_lengths_that_differ_are_said(archive):
    with refused("data.npz: x has 400 rows, y 397: they must have as many"):
        archive(x=np.zeros((400, 2)), y=np.zeros(397))


@pytest.mark.parametrize(("name", "first"), [("notes.md", True), ("notes.csv", False), ("NOTES.TSV", False)])
def test_a_file_that_does_not_look_like_a_table_is_said_to_be_read_as_one(tmp_path, name, first):
    path = tmp_path / name
    path.write_text('# Title\n\na "word\n"quoted\n')
    with pytest.raises(DataError) as caught:
        read_csv(path)
    assert str(caught.value).startswith(f"{path} is read as CSV: line " if first else f"{path}, line ")
    with refused(f"there is no file '{tmp_path / 'none.md'}'"):
        read_csv(tmp_path / "none.md")
