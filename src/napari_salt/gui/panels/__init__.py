"""The panels of the dock widget: they show the session's state and call its methods. Qt only, no torch."""
