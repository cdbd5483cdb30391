"""From painted labels to the crops that training learns from."""
