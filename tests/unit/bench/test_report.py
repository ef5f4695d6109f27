"""The report: goals, tables, and its place in the document."""

import json
from xml.etree import ElementTree as ET

import pytest

import bench.__main__ as program
from bench import chart, contenders, goals, report
from bench.results import Results, Sample
from tests.unit.bench.recorded import CHECKED, REPOSITORY, create, whole_run


def verdict(found, start):
    (one,) = [one for one in goals.verdicts(found) if one.goal.startswith(start)]
    return one


def test_a_goal_is_a_ratio_to_the_floor_of_the_same_run():
    for slower in (1.0, 5.0):
        cold = verdict(whole_run(slower), "create (booted)")
        assert cold.met
        assert cold.measured.startswith("0.78 x (")


def test_a_goal_that_is_missed_says_where_the_time_is():
    found = whole_run(verify=60.0)
    cold = verdict(found, "create (booted)")
    assert cold.met is False
    assert cold.measured == "1.61 x (96.7 s): verify 60.0 s, boot 35.0 s, personalise 0.6 s"
    assert verdict(found, "verify").met is False


def test_what_was_not_measured_is_said_and_is_neither_met_nor_missed():
    found = Results(not_run={"box-build": "round 1: the box is in use"})
    assert [one.met for one in goals.verdicts(found)] == [None] * 9
    assert "box build: round 1: the box is in use" in verdict(found, "box build").measured
    assert "was not part of this run" in verdict(found, "verify").measured


def test_an_older_checkouts_floor_is_shown_as_well():
    found = whole_run()
    found.add("floor@other", Sample(seconds=120.0))
    assert verdict(found, "create (booted)").measured.endswith("0.39 x the other checkout's floor")


def test_a_rebuild_that_was_booted_is_judged_all_the_same():
    found = whole_run()
    assert verdict(found, "rebuild").met is None
    found.not_run["rebuild"] = "round 1 of 3: it failed"
    assert verdict(found, "rebuild").measured == "not measured: round 1 of 3: it failed"
    found.add(contenders.REBUILD_COLD, Sample(seconds=45.0, phases={"boot": 40.0}))
    del found.not_run["rebuild"]
    assert verdict(found, "rebuild").met is False
    assert verdict(found, "rebuild").measured == "0.75 x (45.0 s): boot 40.0 s"
    found.add(contenders.REBUILD_WARM, Sample(seconds=15.0))
    assert verdict(found, "rebuild").met


def test_plain_disk_and_ssh():
    found = whole_run()
    found.add(contenders.PLAIN, Sample(seconds=1600.0))
    assert verdict(found, "create at least 15 x").measured == "100 x (create, restored)"
    assert verdict(found, "SSH").measured == "4.5 s"
    assert verdict(found, "a new VM's own disk").measured.startswith("52 MB after create, restored")


def test_the_report_has_every_figure_once():
    text = report.markdown(whole_run(), "performance.svg")
    assert "![Median times, by phase](performance.svg)" in text
    assert "commit 1a2b3c4d5e6f" in text
    assert "driver: qemu (emulation)" in text
    assert "| create, booted | 46.7 s | 42.0 s - 56.0 s | 3 | 0.78 x |" in text
    assert "| - of it until SSH answers | 40.0 s |" in text
    assert "boot 35.0 s, personalise 0.60 s, verify 10.0 s" in text
    assert "| create, restored | 30 MiB | 20 MiB | 900 MiB | 4.5 s |" in text
    assert "- KVM: every guest was emulated" in text
    for line in text.splitlines():
        if line.startswith("|"):
            assert line.endswith("|")
    widths = [line.count("|") for line in text.splitlines() if line.startswith("| create, 2")]
    assert widths == [6, 3]


def test_a_vm_that_fails_its_checks_is_not_passed_off_as_verified():
    from bench.results import sample_of

    found = Results()
    found.add("create-cold", sample_of(create(report={**CHECKED, "checks_passed": 2796})))
    assert "create, booted: up to 4 checks failed" in report.markdown(found, "x.svg")


def test_the_report_of_nothing_is_short_and_whole():
    text = report.markdown(Results(at="now", commit="x"), "x.svg")
    assert "| goal | measured | met |" in text
    assert "| what |" not in text


def test_it_is_put_between_the_markers_again_and_again(tmp_path):
    document = tmp_path / "performance.md"
    document.write_text(f"# Performance\n\n{report.BEGIN}\nold\n{report.END}\n\nmore\n")
    for text in ("first\n", "second\n"):
        report.put_into(document, text)
    assert document.read_text() == (
        f"# Performance\n\n{report.BEGIN}\n\nsecond\n\n{report.END}\n\nmore\n"
    )


@pytest.mark.parametrize("text", ["", f"{report.BEGIN}", f"{report.END}{report.BEGIN}"])
def test_a_document_without_the_markers_stays_as_it_is(tmp_path, text):
    document = tmp_path / "performance.md"
    document.write_text(text)
    with pytest.raises(report.ReportError):
        report.put_into(document, "x")
    assert document.read_text() == text


def test_our_document_has_the_markers():
    text = (REPOSITORY / "docs" / "performance.md").read_text()
    assert text.index(report.BEGIN) < text.index(report.END)


def drawn(found):
    return ET.fromstring(chart.svg(found))


def test_the_chart_is_well_formed_and_every_bar_is_inside():
    root = drawn(whole_run())
    width, height = float(root.get("width")), float(root.get("height"))
    space = {"svg": "http://www.w3.org/2000/svg"}
    bars = root.findall("svg:rect", space)[1:]
    assert len(bars) > 20
    for bar in bars:
        assert 0 <= float(bar.get("x")) <= width - float(bar.get("width"))
        assert 0 <= float(bar.get("y")) <= height - float(bar.get("height"))
    texts = [text.text for text in root.findall("svg:text[@class='name']", space)]
    for key in whole_run().samples:
        assert texts.count(contenders.contender(key).title) == 1
    assert "prefers-color-scheme:dark" in root.findtext("svg:style", "", space)


def test_a_bar_is_as_long_as_its_median_whatever_its_phases_add_up_to():
    found = Results()
    found.add("start", Sample(seconds=10.0, phases={"boot": 8.0, "wait": 4.0}))
    found.add("stop", Sample(seconds=10.0, phases={"stop": 4.0}))
    bars = [bar for bar in drawn(found).iter() if bar.tag.endswith("rect")][1:-4]
    lengths = {}
    for bar in bars:
        y = bar.get("y")
        lengths[y] = lengths.get(y, 0) + float(bar.get("width"))
    start, stop = lengths.values()
    assert start == pytest.approx(stop, abs=0.2)


def test_many_phases_share_the_last_colour():
    found = Results()
    phases = {f"phase number {number}": 1.0 + number for number in range(20)}
    found.add("start", Sample(seconds=300.0, phases=phases))
    legend = [node.text for node in drawn(found).iter() if node.get("class") == "legend"]
    assert "other phases" in legend
    assert "phase number 19" in legend
    assert "phase number 0" not in legend


def test_a_title_with_markup_stays_text():
    found = Results()
    found.add("<b>&", Sample(seconds=1.0, phases={"<i>": 1.0}))
    assert any(node.text == "<b>&" for node in drawn(found).iter())


@pytest.mark.parametrize("most", [0.004, 0.3, 1.0, 47.0, 60.0, 299.0, 301.0, 1500.0, 9000.0])
def test_a_scale_reaches_to_the_longest_bar_in_a_few_round_steps(most):
    ticks = list(chart._ticks(most))
    assert ticks[0] == 0
    assert ticks[-1] >= most
    assert 3 <= len(ticks) <= 7


def test_what_is_kept_is_in_the_document_and_beside_it(tmp_path, monkeypatch):
    for name, file in (("_DOCUMENT", "a.md"), ("_CHART", "a.svg"), ("KEPT", "kept.json")):
        monkeypatch.setattr(program, name, tmp_path / file)
    (tmp_path / "a.md").write_text(f"{report.BEGIN}\n{report.END}\n")
    whole_run().write(tmp_path / "results.json")
    given = ["--report", str(tmp_path / "results.json"), "--output", str(tmp_path / "out")]
    assert program.main([*given, "--keep"]) == 0
    assert "(a.svg)" in (tmp_path / "a.md").read_text()
    assert (tmp_path / "a.svg").read_text() == (tmp_path / "out" / "chart.svg").read_text()
    assert (tmp_path / "kept.json").read_text() == (tmp_path / "results.json").read_text()


def test_the_report_of_a_run_can_be_written_again(tmp_path, capsys):
    whole_run().write(tmp_path / "results.json")
    out = tmp_path / "again"
    given = ["--report", str(tmp_path / "results.json"), "--output", str(out)]
    assert program.main(given) == 0
    assert sorted(path.name for path in out.iterdir()) == ["chart.svg", "report.md", "results.json"]
    assert (out / "report.md").read_text() == capsys.readouterr().out
    assert json.loads((out / "results.json").read_text())["commit"] == "1a2b3c4d5e6f"
