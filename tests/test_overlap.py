"""Reading ahead and writing behind: order, errors, bounds, and no thread left."""

import threading
import time

import pytest

from napari_salt.core.segment.threads import Behind, ahead


@pytest.fixture(autouse=True)
def no_thread_is_left():
    before = threading.enumerate()
    yield
    assert threading.enumerate() == before


@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_everything_is_read_in_order(count):
    assert list(ahead(str, range(count))) == [(i, str(i)) for i in range(count)]


def test_no_more_than_the_next_is_read():
    read = []
    for index, _ in ahead(read.append, range(6)):
        time.sleep(0.01)
        assert read[: index + 1] == list(range(index + 1))
        assert len(read) <= index + 2


def test_reading_goes_on_while_the_caller_works():
    both = threading.Barrier(2, timeout=60)
    reading = ahead(lambda index: index and both.wait(), range(2))
    next(reading)
    both.wait()  # the second is being read: its thread is there too
    assert next(reading)[0] == 1
    assert not list(reading)


def test_what_cannot_be_read_is_told_at_its_turn():
    reading = ahead([5, 7].__getitem__, [0, 1, 2])
    assert [next(reading), next(reading)] == [(0, 5), (1, 7)]
    with pytest.raises(IndexError):
        next(reading)


@pytest.mark.parametrize("taken", [0, 1, 3])
def test_a_reader_that_is_closed_has_no_thread(taken):
    reading = ahead(str, range(9))
    for _ in range(taken):
        next(reading)
    reading.close()


def test_everything_is_written_in_order():
    written = []
    with Behind() as writing:
        for index in range(9):
            writing.do(written.append, index)
            assert len(written) >= index - 1
    assert written == list(range(9))


def test_writing_goes_on_while_the_caller_works():
    both = threading.Barrier(2, timeout=60)
    with Behind() as writing:
        writing.do(both.wait)
        both.wait()


def test_what_cannot_be_written_is_told():
    with pytest.raises(ValueError, match="full"), Behind() as writing:
        writing.do(int, "full")
    with pytest.raises(ValueError, match="full"), Behind() as writing:
        writing.do(int, "full")
        writing.do(pytest.fail, "what comes after it is not begun")


def test_what_was_brought_before_a_stop_is_written():
    written = []
    with pytest.raises(KeyboardInterrupt), Behind() as writing:
        writing.do(written.append, 1)
        raise KeyboardInterrupt
    assert written == [1]
