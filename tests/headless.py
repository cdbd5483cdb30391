"""A session without a window."""

from loop import Loop
from napari_salt.engine._client import ENGINE, EngineProcess
from napari_salt.session._session import Session


def session(viewer, loop=None, autosave=None, engine=ENGINE):
    """A session on a viewer or its model; nobody answers its questions."""
    return Session(viewer, lambda _question, _answers: None, EngineProcess(loop or Loop(), engine), autosave)
