import csv
import dataclasses
import io
import json
import math

import pytest

from narrowcast.errors import ModelFileError
from narrowcast.evaluation.results import Interval, Score
from narrowcast.report import files, machine

from . import samples

RESULTS = {
    "comparison": samples.comparison,
    "benchmark": samples.benchmark,
    "written-file": samples.written,
    "inspection": samples.inspection,
    "differences": samples.differences,
    "prediction": samples.prediction,
}


@pytest.mark.parametrize("kind", RESULTS)
def test_json_has_a_schema_and_every_field(kind):
    result = RESULTS[kind]()
    data = json.loads(machine.to_json(result))
    assert data["schema"] == f"narrowcast/{kind}/1"
    derived = {"written-file": {"verified"}, "differences": {"alike", "matched"}}.get(kind, set())
    given = {field.name for field in dataclasses.fields(result)} - ({"networks"} if kind == "differences" else set())
    assert set(data) == {"schema"} | derived | given


NONE = {"top5_change": None, "top1_range": None}


def test_json_of_a_comparison_keeps_the_figures():
    data = json.loads(machine.to_json(samples.comparison()))
    row = data["rows"][4]
    assert row["name"] == "int8"
    assert row["bytes"] == 3_998_144
    measured = {"samples": 500, "top1": 0.854, "top5": 0.964, "agreement": 0.952}
    interval = {"low": -0.02, "high": 0.008}
    assert row["accuracy"] == {**measured, "top1_change": interval, "agreement_range": None, **NONE}
    assert row["latencies"][1]["threads"] == 2
    assert row["latencies"][1]["median_s"] == pytest.approx(0.00602)
    assert row["written"]["parity"]["passed"] is True
    assert data["rows"][-1]["failure"].startswith("conv_1")


@pytest.mark.parametrize(("value", "spelt"), [(math.inf, "Infinity"), (-math.inf, "-Infinity"), (math.nan, "NaN")])
def test_numbers_that_json_lacks_are_strings_that_float_reads(value, spelt):
    assert machine.to_data((value,)) == [spelt]
    assert repr(float(spelt)) == repr(value)


def test_failure_carries_the_error():
    error = ModelFileError("the graph has a cycle", where="m.onnx", hint="export it again")
    data = machine.failure(error, 5)
    assert data == {
        "schema": "narrowcast/failure/1",
        "error": "ModelFileError",
        "exit_code": 5,
        "what": "the graph has a cycle",
        "where": "m.onnx",
        "hint": "export it again",
        "written": None,
    }


def test_csv_has_one_line_for_each_row_and_a_column_for_each_thread_count():
    rows = list(csv.DictReader(io.StringIO(machine.to_csv(samples.comparison()))))
    assert [row["name"] for row in rows][:3] == ["source", "float32", "float16"]
    int8 = rows[4]
    assert float(int8["top1_change"]) == pytest.approx(-0.006)
    assert float(int8["latency_2t_s"]) == pytest.approx(0.00602)
    assert int8["operators"] == "67"
    assert [row["recommended"] for row in rows] == ["0", "0", "0", "0", "0", "1", "0"]
    assert rows[-1]["bytes"] == ""
    assert rows[-1]["failure"]


def test_csv_quotes_hostile_cells():
    result = samples.comparison()
    rows = (*result.rows[:-1], dataclasses.replace(result.rows[-1], failure='a,"b"\nc'))
    read = list(csv.DictReader(io.StringIO(machine.to_csv(dataclasses.replace(result, rows=rows)))))
    assert read[-1]["failure"] == 'a,"b"\nc'


def test_the_three_files_are_written(tmp_path):
    paths = files.write(samples.comparison(), tmp_path)
    assert [path.name for path in paths] == ["report.json", "report.csv", "report.html"]
    assert {path.name for path in tmp_path.iterdir()} == {"report.json", "report.csv", "report.html"}
    assert json.loads((tmp_path / "report.json").read_text())["recommended"] == "full_int8"


def test_csv_of_a_metric():
    result = samples.comparison()
    rows = [
        dataclasses.replace(row, score=Score("near", value, 69, change, own, "share"))
        for row, value, change, own in zip(
            result.rows,
            (1.0, 0.9, *[0.8] * 5),
            (None, Interval(-0.2, 0.01), *[None] * 5),
            (Interval(0.94, 1.0), None, *[None] * 5),
            strict=True,
        )
    ]
    source, first, other, *_ = csv.DictReader(
        io.StringIO(machine.to_csv(dataclasses.replace(result, rows=tuple(rows))))
    )
    assert (source["metric"], source["score"], source["score_low"], source["score_change"]) == (
        "near",
        "1.0",
        "0.94",
        "",
    )
    assert (first["score_low"], first["score_change_low"], first["score_change_high"]) == ("", "-0.2", "0.01")
    assert float(first["score_change"]) == pytest.approx(-0.1)
    assert (other["score"], other["score_change"]) == ("0.8", "")
