"""What setup.cfg ships is what the checkout holds."""

from configparser import ConfigParser
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_package_of_the_engine_is_shipped() -> None:
    config = ConfigParser()
    config.read(ROOT / "setup.cfg")
    shipped = {
        name for name in config["options"]["packages"].split() if not name.startswith("engine.shipped")
    }
    folders = {path.parent.relative_to(ROOT) for path in (ROOT / "engine").rglob("*.py")}
    assert shipped == {".".join(folder.parts) for folder in folders}


def test_every_family_of_kinds_is_held_apart_from_the_others() -> None:
    config = ConfigParser()
    config.read(ROOT / "setup.cfg")
    held = config["importlinter:contract:families"]["modules"].split()
    families = [path for path in (ROOT / "engine/resources").glob("*/*.py") if not path.stem.startswith("_")]
    assert held == sorted(".".join(path.relative_to(ROOT).with_suffix("").parts) for path in families)


def test_the_version_is_the_same_everywhere() -> None:
    import engine

    config = ConfigParser()
    config.read(ROOT / "setup.cfg")
    assert config["metadata"]["version"] == engine.__version__
