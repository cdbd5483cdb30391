"""Hook of MkDocs: the pages and pictures beside mkdocs.yml are those of the site."""

from pathlib import Path

from mkdocs.structure.files import File

HERE = Path(__file__).parent
SUFFIXES = ".md", ".png", ".jpg"


def on_files(files, config):
    """Add them under the paths that they have here."""
    for path in sorted(HERE.rglob("*")):
        place = path.relative_to(HERE)
        if path.suffix in SUFFIXES and not path.is_relative_to(config.docs_dir):
            files.append(File.generated(config, place.as_posix(), abs_src_path=str(path)))
    return files
