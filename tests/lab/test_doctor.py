"""The doctor names what is ill and what mends it, and never falls ill itself."""

import importlib.metadata
import re
import sys

import pytest

import reclab
from reclab.lab import doctor


def test_a_healthy_installation_is_all_well():
    report = reclab.doctor()
    assert report.ok, report
    assert str(report).endswith("all is well")


def test_the_text_says_the_same_on_every_healthy_machine():
    report = doctor.Report((doctor._chance(), doctor._disk(), doctor._packages()), {"cpus": "2"})
    assert str(report) == repr(report) == report.text()
    assert "cpus" not in str(report) and "cpus: 2" in report.text(facts=True)
    assert not re.search(r"\d\.\d| ms|\bs\b", str(report))


def test_a_package_that_is_missing_or_too_old_is_named_with_the_command(monkeypatch):
    found = importlib.metadata.version

    def version(name: str) -> str:
        if name == "duckdb":
            raise importlib.metadata.PackageNotFoundError(name)
        return "0.1" if name == "plotly" else found(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    line = str(doctor._packages())
    assert "duckdb is missing" in line and "plotly is 0.1, not" in line
    assert line.endswith("mend with: python lab.py")


@pytest.mark.parametrize("module", ["torch", "reclab.stores.kv", "reclab.core.chance"])
def test_what_cannot_be_imported_becomes_a_line(monkeypatch, module: str):
    monkeypatch.setitem(sys.modules, module, None)
    report = doctor.doctor()
    ill = [check for check in report.checks if not check.ok]
    assert len(ill) == 1 and "ModuleNotFoundError" in ill[0].wrong and ill[0].mend
    assert "not ready yet" in str(report)


def test_a_full_disk_is_said(monkeypatch):
    monkeypatch.setattr(doctor, "_free_gb", lambda: 0.5)
    assert "0.5 GB are free" in str(doctor._disk())


def test_the_exit_status_is_the_verdict(monkeypatch, capsys):
    well = doctor.Check("a", "b")
    monkeypatch.setattr(doctor, "doctor", lambda: doctor.Report((well,)))
    assert doctor.main() == 0
    monkeypatch.setattr(
        doctor, "doctor", lambda: doctor.Report((well, doctor.Check("a", "b", "c", "d")))
    )
    assert doctor.main() == 1
    assert "NOT OK: c; mend with: d" in capsys.readouterr().out
