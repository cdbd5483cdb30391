"""3D Slicer module: train and segment with napari-salt, which runs in a Python of its own."""

import shutil
from pathlib import Path

import ctk
import qt
import slicer
from NapariSaltLib.background import Run, environment_for
from NapariSaltLib.commands import PLANES, UNPAINTED, Segmenting, Training, check_command
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)

POLL_MS = 200
PYTHON, ADAPTER = "NapariSalt/Python", "NapariSalt/Adapter"
"""Settings of Slicer in which the last choices are kept."""
HELP = """Segment a whole volume from a few painted slices. Paint segments on two or more slices in the
Segment Editor, choose them here, and press Train; then Segment. napari-salt is installed in a Python of its
own, which is chosen below."""
THANKS = "napari-salt adapts Segment Anything by small adapters."


class NapariSalt(ScriptedLoadableModule):
    """What Slicer shows of the module."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = "napari-salt"
        self.parent.categories = ["Segmentation"]
        self.parent.dependencies = ["Segmentations", "Volumes"]
        self.parent.contributors = ["napari-salt developers"]
        self.parent.helpText = HELP
        self.parent.acknowledgementText = THANKS


class NapariSaltWidget(ScriptedLoadableModuleWidget):
    """The module's panel."""

    def setup(self):
        """Make the panel."""
        ScriptedLoadableModuleWidget.setup(self)
        self.logic = NapariSaltLogic()
        self.run = None
        self.after = None
        self.timer = qt.QTimer()
        self.timer.setInterval(POLL_MS)
        self.timer.connect("timeout()", self.onTimer)
        box = ctk.ctkCollapsibleButton()
        box.text = "napari-salt"
        self.layout.addWidget(box)
        form = qt.QFormLayout(box)
        self.volume = self.nodeBox("vtkMRMLScalarVolumeNode", "The volume to segment.")
        self.painted = self.nodeBox("vtkMRMLSegmentationNode", "The segmentation with painted slices.")
        self.plane = self.choices(PLANES, "On which planes the segments are painted.")
        self.unpainted = self.choices(UNPAINTED, "What is not painted on a painted slice.")
        self.minutes = qt.QDoubleSpinBox()
        self.minutes.setRange(0.1, 600.0)
        self.minutes.value = 4.0
        self.minutes.suffix = " min"
        self.adapter = self.pathLine(ADAPTER, "Where the adapter is written, or the adapter to segment with.")
        self.adapter.filters = ctk.ctkPathLineEdit.Files | ctk.ctkPathLineEdit.Writable
        self.goOn = qt.QCheckBox("go on from the adapter, if it is there")
        self.python = self.pathLine(PYTHON, "A Python in which napari-salt is installed.")
        for text, widget in (
            ("volume", self.volume),
            ("painted", self.painted),
            ("planes", self.plane),
            ("unpainted", self.unpainted),
            ("time to train", self.minutes),
            ("adapter", self.adapter),
            ("", self.goOn),
            ("Python", self.python),
        ):
            form.addRow(text, widget)
        self.addButtons(form)
        self.layout.addStretch(1)
        self.showRunning(running=False)

    def nodeBox(self, kind, tip):
        """A box of the scene's nodes of a kind."""
        box = slicer.qMRMLNodeComboBox()
        box.nodeTypes = [kind]
        box.addEnabled = box.removeEnabled = box.renameEnabled = False
        box.setMRMLScene(slicer.mrmlScene)
        box.toolTip = tip
        return box

    def choices(self, texts, tip):
        """A box of texts, each with its value."""
        box = qt.QComboBox()
        for value, text in texts.items():
            box.addItem(text, value)
        box.toolTip = tip
        return box

    def pathLine(self, setting, tip):
        """A line for a path, which is as it was left."""
        line = ctk.ctkPathLineEdit()
        line.filters = ctk.ctkPathLineEdit.Files
        line.currentPath = str(slicer.app.settings().value(setting, "") or "")
        line.toolTip = tip
        return line

    def addButtons(self, form):
        """Add buttons, the bar and the texts."""
        self.train, self.segment, self.cancel = map(qt.QPushButton, ("Train", "Segment", "Cancel"))
        buttons = qt.QHBoxLayout()
        for button, act in (
            (self.train, self.onTrain),
            (self.segment, self.onSegment),
            (self.cancel, self.onCancel),
        ):
            buttons.addWidget(button)
            button.connect("clicked()", act)
        form.addRow(buttons)
        self.bar = qt.QProgressBar()
        self.bar.setRange(0, 100)
        self.said = qt.QLabel()
        self.said.wordWrap = True
        self.said.textFormat = qt.Qt.PlainText
        form.addRow(self.bar)
        form.addRow(self.said)

    def cleanup(self):
        """End what runs when the module is closed."""
        self.timer.stop()
        if self.run is not None:
            self.run.cancel()
            self.run.cancel()
        self.logic.forget()

    def onTrain(self):
        """Train on the painted slices."""
        adapter = self.adapter.currentPath
        if adapter and not adapter.endswith(".safetensors"):
            adapter = self.adapter.currentPath = f"{adapter}.salt.safetensors"
        wanted = {"volume": self.volume.currentNode(), "segmentation": self.painted.currentNode()}
        if not self.allThere({**wanted, "file for the adapter": adapter}):
            return
        with slicer.util.tryWithErrorDisplay("The training could not be started.", waitCursor=True):
            training = Training(
                self.logic.exportVolume(wanted["volume"]),
                self.logic.exportSegmentation(wanted["segmentation"]),
                Path(adapter),
                self.minutes.value,
                self.plane.currentData,
                self.unpainted.currentData,
                go_on=self.goOn.checked and Path(adapter).is_file(),
            )
            self.start(training.command(self.python.currentPath), self.onTrained)

    def onSegment(self):
        """Segment the volume."""
        adapter, volume = self.adapter.currentPath, self.volume.currentNode()
        if not self.allThere({"volume": volume, "adapter": adapter}):
            return
        with slicer.util.tryWithErrorDisplay("The segmentation could not be started.", waitCursor=True):
            segmenting = Segmenting(self.logic.exportVolume(volume), Path(adapter), self.logic.result)
            self.start(
                segmenting.command(self.python.currentPath), lambda state: self.onSegmented(state, volume)
            )

    def onCancel(self):
        """End after the present step; once more: at once."""
        if self.run is not None:
            self.run.cancel()

    def onTrained(self, state):
        """Say how good the adapter is."""
        dice = state.result.get("best_validation_dice")
        score = "" if dice is None else f", Dice {dice:.2f} on painted voxels that were held out"
        self.said.text = (
            f"The adapter is trained ({state.result.get('steps')} steps{score}). Segment uses it."
        )

    def onSegmented(self, state, volume):
        """Load the segmentation."""
        self.logic.loadResult(volume)
        self.said.text = f"{state.result.get('slices')} slices are segmented."

    def allThere(self, wanted):
        """Whether all is chosen; what is missing is said."""
        wanted = {**wanted, "Python with napari-salt": self.python.currentPath}
        missing = [name for name, value in wanted.items() if not value]
        if missing:
            self.said.text = f"Choose first: {', '.join(missing)}."
        return not missing

    def start(self, command, after):
        """Start a command; `after` is called with its last state if it has not failed."""
        settings = slicer.app.settings()
        settings.setValue(PYTHON, self.python.currentPath)
        settings.setValue(ADAPTER, self.adapter.currentPath)
        self.run, self.after = Run(command, self.logic.environment()), after
        self.showRunning(running=True)
        self.timer.start()

    def onTimer(self):
        """Show how far it is."""
        state = self.run.poll()
        self.bar.value = round(100 * state.fraction)
        self.said.text = state.error or state.text
        if not state.is_over:
            return
        self.timer.stop()
        log, self.run = self.run.log, None
        self.showRunning(running=False)
        if state.error:
            slicer.util.errorDisplay(state.error, detailedText=log)
        elif not state.is_cancelled:
            with slicer.util.tryWithErrorDisplay("The result could not be loaded.", waitCursor=True):
                self.after(state)
        self.logic.forget()

    def showRunning(self, running):
        """Enable what can be done now."""
        self.train.enabled = self.segment.enabled = not running
        self.cancel.enabled = self.bar.visible = running


class NapariSaltLogic(ScriptedLoadableModuleLogic):
    """Nodes as files, and files as nodes."""

    def __init__(self):
        ScriptedLoadableModuleLogic.__init__(self)
        self._folder = None

    @property
    def folder(self):
        """A temporary folder of this run."""
        if self._folder is None:
            self._folder = Path(slicer.util.tempDirectory(key="NapariSalt"))
        return self._folder

    @property
    def result(self):
        """The file of the segmentation."""
        return self.folder / "segmented.seg.nrrd"

    def forget(self):
        """Remove the temporary folder."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def environment(self):
        """Environment variables for another Python: those that Slicer was started with."""
        return environment_for(slicer.util.startupEnvironment())

    def exportVolume(self, node):
        """Write a volume; give the file."""
        return self.export(node, "vtkMRMLVolumeArchetypeStorageNode", self.folder / "volume.nrrd")

    def exportSegmentation(self, node):
        """Write a segmentation; give the file."""
        return self.export(node, "vtkMRMLSegmentationStorageNode", self.folder / "painted.seg.nrrd")

    def export(self, node, kind, path):
        """Write a node by a storage node of its own: where the node is saved otherwise, stays."""
        storage = slicer.mrmlScene.CreateNodeByClass(kind)
        storage.UnRegister(None)
        storage.SetFileName(str(path))
        if not storage.WriteData(node):
            raise RuntimeError(f"{node.GetName()} could not be written to {path}.")
        return path

    def loadResult(self, volume):
        """Load the segmentation; give its node."""
        node = slicer.util.loadSegmentation(str(self.result))
        node.SetName(f"{volume.GetName()} segmented")
        node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
        if node.GetStorageNode() is not None:  # the file goes, and the scene asks where to save the node
            slicer.mrmlScene.RemoveNode(node.GetStorageNode())
        return node


class NapariSaltTest(ScriptedLoadableModuleTest):
    """What Slicer's self-test runs; a Python with napari-salt must have been chosen before."""

    def runTest(self):
        """The chosen Python has napari-salt."""
        python = str(slicer.app.settings().value(PYTHON, "") or "")
        if python:
            state = Run(check_command(python), NapariSaltLogic().environment()).wait()
            self.assertEqual(state.error, "")
