"""Controls for options, made from their descriptions in `napari_salt.terms.config`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from magicgui import widgets
from qtpy.QtWidgets import QFormLayout, QLabel

from napari_salt.gui.panels._panel import plain_tip
from napari_salt.session._guard import connect
from napari_salt.terms.errors import InputError
from napari_salt.terms.options import Option, options_of, values_of

if TYPE_CHECKING:
    from napari_salt.session._options import Purpose
    from napari_salt.session._session import Session

__all__ = ["OptionControls"]

LARGEST = 2**31 - 1
UNITS = {"minutes": " min"}


class OptionControls:
    """Controls for the options of one group, kept in step with the session.

    Parameters
    ----------
    session
        Whose options they are.
    purpose
        ``"train"`` or ``"segment"``.
    group
        Name of the group. Options with other controls, such as slices and class names, are left out.
    """

    def __init__(self, session: Session, purpose: Purpose, group: str) -> None:
        self._session, self._purpose = session, purpose
        known = options_of(type(session.options.values(purpose))).values()
        wanted = [each for each in known if each.group == group and each.kind not in ("slices", "names")]
        self._controls = {each.name: _Control(each, self._set) for each in wanted}
        self.refresh()

    def add_to(self, form: QFormLayout, *names: str) -> None:
        """Add a row for each option to `form`, or for those that are named."""
        for name in names or self._controls:
            form.addRow(*self._controls[name].row)

    def refresh(self) -> None:
        """Show the session's values."""
        values = values_of(self._session.options.values(self._purpose))
        for name, control in self._controls.items():
            control.show(values[name])

    def set_visible(self, name: str, visible: bool) -> None:  # noqa: FBT001 (as Qt's)
        """Show or hide the row of an option."""
        for widget in self._controls[name].row:
            widget.setVisible(visible)

    def _set(self, name: str, value: Any) -> None:
        try:
            self._session.options.change(self._purpose, **{name: value})
        except InputError as error:
            self._session.problem.emit(str(error), name)
        self._session.changed.options.emit()


class _Control:
    """The control of one option."""

    def __init__(self, option: Option, changed: Callable[[str, Any], None]) -> None:
        self._option, self._changed = option, changed
        self._filling = False
        self._widget = _widget_of(option)
        self._widget.native.setToolTip(plain_tip(f"{option.text} {option.rule}"))
        if option.kind in ("flag", "choice", "whole", "number"):
            connect(self._widget.changed, self._on_changed)
        else:
            connect(self._widget.native.editingFinished, self._on_changed)
        label = [] if option.kind == "flag" else [QLabel(option.label)]
        self.row = (*label, self._widget.native)

    def show(self, value: Any) -> None:
        """Show `value` without reporting a change."""
        self._filling = True
        try:
            self._widget.value = self._shown(value)
        finally:
            self._filling = False

    def _on_changed(self) -> None:
        if self._filling:
            return
        value = self._widget.value
        if isinstance(self._widget, widgets.LineEdit):
            with suppress(InputError):  # the config then refuses the text with a message
                value = self._option.parse(value)
        elif self._option.nothing and value == _least(self._option):
            value = None
        elif self._option.kind == "whole":
            value = round(value)
        self._changed(self._option.name, value)

    def _shown(self, value: Any) -> Any:
        if isinstance(self._widget, widgets.LineEdit):
            return self._option.shown(value)
        return _least(self._option) if value is None else value


def _widget_of(option: Option) -> Any:
    if option.kind == "flag":
        return widgets.CheckBox(text=option.label)
    if option.kind == "choice":
        return widgets.ComboBox(choices=[(text, value) for value, text in option.choices.items()])
    if option.kind in ("whole", "number"):
        return _number(option)
    return widgets.LineEdit()


def _number(option: Option) -> Any:
    made = widgets.FloatSpinBox()  # magicgui's SpinBox shows neither a unit nor a text for None
    made.native.setDecimals(_decimals(option))  # before the limits, which are rounded to it
    high = LARGEST if option.high is None else min(option.high, LARGEST)
    made.max, made.min, made.step = high, _least(option), option.step or 1
    if option.nothing:
        made.native.setSpecialValueText(option.nothing)
    if option.unit:
        made.native.setSuffix(UNITS.get(option.unit, f" {option.unit}"))
    made.native.setKeyboardTracking(False)
    return made


def _decimals(option: Option) -> int:
    if option.kind == "whole":
        return 0
    return 5 if (option.step or 1) < 0.01 else 2


def _least(option: Option) -> float:
    """Lowest number of the control; if the option may be None, a number out of range that stands for it."""
    if option.above is not None:
        return option.above if option.nothing else option.above + 10.0 ** -_decimals(option)
    low = option.low or 0
    return low - 1 if option.nothing else low
