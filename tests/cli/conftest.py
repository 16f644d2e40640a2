"""A command line whose api is a recorder: what each command asks for is seen without any conversion."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from narrowcast import api
from narrowcast.cli.app import cli
from tests.report import samples


@pytest.fixture
def calls(monkeypatch):
    """Replaces the api's verbs; maps each verb's name to the (args, kwargs) of its last call."""
    seen = {}
    model = SimpleNamespace(name="model", scheme="float32")

    def recorder(name, result):
        def verb(*args, progress=None, **kwargs):
            seen[name] = (args, kwargs)
            if progress is not None:
                progress(name, 1, 2)
            if isinstance(result, BaseException):
                raise result
            return result

        monkeypatch.setattr(api, name, verb)

    results = {
        "load": model,
        "quantize": model,
        "finetune": model,
        "dequantize": model,
        "save": samples.written(),
        "compare": samples.comparison(),
        "inspect": samples.inspection(),
        "compare_networks": samples.differences(),
        "diff": samples.diagnosis(),
        "bench": samples.benchmark(),
        "extract_parameters": samples.extraction(),
        "replace_parameters": samples.written(),
        "reduce_model": samples.reduction(),
        "run": samples.prediction(),
        "transcribe": samples.written(),
        "tune": samples.tuning(),
    }
    for name, result in results.items():
        recorder(name, result)
    seen["answer"] = recorder
    return seen


@pytest.fixture
def run():
    """Runs the command line in this process."""

    def invoke(*arguments, **options):
        return CliRunner().invoke(cli, [str(argument) for argument in arguments], prog_name="narrowcast", **options)

    return invoke
