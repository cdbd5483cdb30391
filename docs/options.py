"""Write docs/options.md, the reference of all options, from the configs: ``python docs/options.py``."""

from pathlib import Path

from napari_salt import SegmentConfig, TrainConfig
from napari_salt.terms.options import options_of

PAGE = Path(__file__).with_suffix(".md")
TITLE = """# Options

Each option is set by a flag of the command line, by a field of the same name in Python (`ns.TrainConfig`,
with `ns.SaltConfig` in its field `salt`, and `ns.SegmentConfig`), or in the panel. This page is made from
those classes by `python docs/options.py`.
"""
PARTS = {"Training: `napari-salt train`": TrainConfig, "Segmenting: `napari-salt segment`": SegmentConfig}


def page():
    """The page's text."""
    lines = [TITLE]
    for title, config in PARTS.items():
        lines += [f"## {title}", "", "| option | what it means | values |", "|---|---|---|"]
        for option in options_of(config).values():
            flag = f"--no-{option.flag[2:]}" if option.default is True else option.flag
            lines.append(f"| `{flag}` | {option.text} | {option.rule} |".replace("|mps", "\\|mps"))
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
