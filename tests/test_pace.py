"""How long a job still takes."""

import pytest

from napari_salt.cli._terminal import progress_bar
from napari_salt.terms import pace
from napari_salt.terms.pace import Pace, short_duration


@pytest.fixture
def clock(monkeypatch):
    """A clock that goes on by hand."""
    now = [100.0]
    monkeypatch.setattr(pace.time, "monotonic", lambda: now[0])
    return now


def test_the_first_part_holds_preparations_and_does_not_count(clock):
    measured = Pace()
    assert measured.seconds_left(20) is None
    clock[0] += 60  # the model is built
    measured.reached(1)
    assert measured.seconds_left(20) is None
    for done in range(2, 6):
        clock[0] += 2
        measured.reached(done)
    assert measured.seconds_left(20) == pytest.approx(30)
    measured.reached(3)
    assert measured.seconds_left(20) == pytest.approx(30), "less than before is ignored"
    assert measured.seconds_left(9) is None, "a few seconds are not worth telling"


def test_without_a_terminal_each_tenth_tells_the_time_left(clock, capsys):
    with progress_bar(20, "segmenting", "slice") as bar:
        for _ in range(20):
            clock[0] += 4
            bar.update()
    lines = capsys.readouterr().err.splitlines()
    assert lines[:3] == [
        "segmenting: 0 %",
        "segmenting: 10 %, 1 min 12 s left",
        "segmenting: 20 %, 1 min 4 s left",
    ]
    assert lines[-1] == "segmenting: 100 %"


@pytest.mark.parametrize(("seconds", "text"), [(9.6, "10 s"), (60, "1:00 min"), (133, "2:13 min")])
def test_durations(seconds, text):
    assert short_duration(seconds) == text
