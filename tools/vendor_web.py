"""Fetch the storefront's pinned third-party files into ``src/endcap/server/static/vendor``.

    python tools/vendor_web.py

A development tool: it needs ``npm`` and the network once; the repository and the wheel hold its result, and neither
building nor running Endcap needs Node. It copies the minified ES modules of Preact, its hooks, htm and signals (with
bare import names turned into relative ones, since a strict content policy forbids an inline import map), two fonts,
the icons named below out of Fluent Emoji Flat, and every licence.
"""

from __future__ import annotations

import json
import re
import subprocess
import tarfile
import tempfile
from pathlib import Path

STATIC = Path(__file__).parents[1] / "src/endcap/server/static"
VENDOR = STATIC / "vendor"
TEST_ASSETS = Path(__file__).parents[1] / "tests/assets"
PREACT, HTM, SIGNALS, SIGNALS_CORE = (
    "preact@10.29.8",
    "htm@3.1.1",
    "@preact/signals@2.11.4",
    "@preact/signals-core@1.14.5",
)
FIGTREE, FRAUNCES = "@fontsource-variable/figtree@5.3.0", "@fontsource-variable/fraunces@5.3.0"
ICONS, AXE = "@iconify-json/fluent-emoji-flat@1.2.6", "axe-core@4.14.1"
MODULES = {
    "preact.js": (PREACT, "dist/preact.module.js"),
    "hooks.js": (PREACT, "hooks/dist/hooks.module.js"),
    "htm.js": (HTM, "dist/htm.module.js"),
    "signals-core.js": (SIGNALS_CORE, "dist/signals-core.module.js"),
    "signals.js": (SIGNALS, "dist/signals.module.js"),
}
FONTS = {
    "figtree.woff2": (FIGTREE, "files/figtree-latin-wght-normal.woff2"),
    "fraunces.woff2": (FRAUNCES, "files/fraunces-latin-wght-normal.woff2"),
}
LICENCES = {
    "preact.txt": PREACT,
    "htm.txt": HTM,
    "signals.txt": SIGNALS,
    "figtree.txt": FIGTREE,
    "fraunces.txt": FRAUNCES,
}
BARE = {"preact": "./preact.js", "preact/hooks": "./hooks.js", "@preact/signals-core": "./signals-core.js"}
PACKAGES = {PREACT, HTM, SIGNALS, SIGNALS_CORE, FIGTREE, FRAUNCES, ICONS, AXE}
# motif or product word -> icon of the set
CHOSEN = {
    # motifs printed on products
    "heart": "red-heart", "star": "star", "butterfly": "butterfly", "bird": "bird", "owl": "owl",
    "rabbit": "rabbit-face",
    "cat": "cat-face", "dog": "dog-face", "skull": "skull", "strawberry": "strawberry", "apple": "red-apple",
    "cherry": "cherries", "mushroom": "mushroom", "rose": "rose", "tulip": "tulip", "daisy": "blossom",
    "tree": "evergreen-tree", "christmas": "christmas-tree", "leaf": "herb", "cupcake": "cupcake",
    "tea": "teacup-without-handle", "rocket": "rocket", "doll": "nesting-dolls", "circus": "circus-tent",
    "car": "racing-car", "elephant": "elephant", "hen": "front-facing-baby-chick", "snowflake": "snowflake",
    "reindeer": "deer", "fish": "tropical-fish", "horse": "carousel-horse", "dinosaur": "t-rex", "crown": "crown",
    "fruit": "pear", "monkey": "monkey-face", "mouse": "mouse-face", "pig": "pig-face", "bear": "teddy-bear",
    # products that the set draws better than we would
    "candle": "candle", "teapot": "teapot", "gift": "wrapped-gift", "ribbon": "ribbon", "balloon": "balloon",
    "party": "party-popper", "pencil": "pencil", "scissors": "scissors", "yarn": "yarn", "thread": "thread",
    "puzzle": "puzzle-piece", "die": "game-die", "kite": "kite", "drum": "drum", "ring": "ring", "gem": "gem-stone",
    "scarf": "scarf", "gloves": "gloves", "socks": "socks", "soap": "soap", "lotion": "lotion-bottle",
    "sponge": "sponge",
    "plaster": "adhesive-bandage", "luggage": "luggage", "plant": "potted-plant", "bouquet": "bouquet",
    "egg": "egg",
    "nest": "nest-with-eggs", "magnet": "magnet", "bell": "bell", "wine": "wine-glass", "cocktail": "cocktail-glass",
    "cookie": "cookie", "bread": "bread", "honey": "honey-pot", "spoon": "spoon", "cutlery": "fork-and-knife",
    "cooking": "cooking", "key": "old-key", "chair": "chair", "toothbrush": "toothbrush", "radio": "radio",
    "phone": "telephone", "flashlight": "flashlight", "bulb": "light-bulb", "hat": "womans-hat", "chime": "wind-chime",
    "palette": "artist-palette", "crayon": "crayon", "coin": "coin", "wand": "magic-wand", "broom": "broom",
    "thermometer": "thermometer", "sunflower": "sunflower", "lipstick": "lipstick", "house": "house-with-garden",
    "feather": "feather", "robot": "robot", "yoyo": "yo-yo", "bucket": "bucket", "musical": "musical-notes",
}  # fmt: skip


def unpacked(name: str, into: Path) -> Path:
    """The folder of one npm package, fetched by the ordinary client."""
    packed = subprocess.run(
        ["npm", "pack", "--silent", name], cwd=into, check=True, capture_output=True, text=True
    ).stdout.split()[-1]
    folder = into / packed.removesuffix(".tgz")
    with tarfile.open(into / packed) as archive:
        archive.extractall(folder, filter="data")
    return folder / "package"


def module_text(source: Path) -> str:
    text = re.sub(r"//# sourceMappingURL=.*", "", source.read_text("utf-8")).strip()
    return re.sub(r'(from|import)"([^"./][^"]*)"', lambda found: f'{found[1]}"{BARE.get(found[2], found[2])}"', text)


def chosen_icons(folder: Path) -> str:
    """One ES module: name -> body of a 32 x 32 drawing. Ids inside a body start with ``@`` for the page to replace."""
    icons = json.loads((folder / "icons.json").read_text("utf-8"))["icons"]
    bodies = {}
    for name, icon in sorted(CHOSEN.items()):
        body = icons[icon]["body"]
        body = re.sub(r'id="([^"]+)"', r'id="@\1"', body)
        body = re.sub(r"url\(#([^)]+)\)", r"url(#@\1)", body)
        bodies[name] = re.sub(r'href="#([^"]+)"', r'href="#@\1"', body)
    lines = ",\n".join(f"  {name}: {json.dumps(body)}" for name, body in bodies.items())
    note = "// Fluent Emoji Flat by Microsoft, MIT (licences/fluent-emoji.txt). Made by tools/vendor_web.py.\n"
    return f"{note}export const ICONS = {{\n{lines},\n}};\n"


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        fetched = {name: unpacked(name, Path(scratch)) for name in PACKAGES}
        for target, (package, path) in MODULES.items():
            (VENDOR / target).write_text(f"// {package}\n{module_text(fetched[package] / path)}\n", "utf-8")
        for target, (package, path) in FONTS.items():
            (VENDOR / target).write_bytes((fetched[package] / path).read_bytes())
        for target, package in LICENCES.items():
            (VENDOR / "licences" / target).write_bytes((fetched[package] / "LICENSE").read_bytes())
        (VENDOR / "icons.js").write_text(chosen_icons(fetched[ICONS]), "utf-8")
        TEST_ASSETS.mkdir(exist_ok=True)
        (TEST_ASSETS / "axe.min.js").write_bytes((fetched[AXE] / "axe.min.js").read_bytes())
        (TEST_ASSETS / "axe.LICENSE.txt").write_bytes((fetched[AXE] / "LICENSE").read_bytes())


if __name__ == "__main__":
    main()
