"""From a stack to labels."""
