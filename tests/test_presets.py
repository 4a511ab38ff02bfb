"""Presets: defaults that a file lies over, with the source of every value; each serves over HTTP."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from endcap.cli import app
from endcap.config import PRESETS, Config, load_config, shop_placements
from endcap.errors import ConfigError
from served import serving

ROOT = Path(__file__).resolve().parent.parent


def written(directory: Path, text: str) -> Path:
    file = directory / "endcap.toml"
    file.write_text(text)
    return file


def test_a_secret_of_digits_is_text() -> None:
    given = {"ENDCAP_INTAKE__SHOPIFY_SECRET": "1234", "ENDCAP_INTAKE__POSITION_BASE": "0"}
    intake = load_config(environ=given)[0].intake
    assert (intake.shopify_secret, intake.position_base) == ("1234", 0)


def test_no_file_is_the_shop_and_the_shop_is_the_defaults() -> None:
    config, sources = load_config(environ={})
    assert config == Config() == load_config(preset="shop", environ={})[0]
    assert sources == {}
    assert set(config.placements) == set(shop_placements())


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_chosen_by_a_file_or_by_a_switch_and_they_agree(name: str, tmp_path: Path) -> None:
    file = written(tmp_path, f'preset = "{name}"\n')
    by_file, sources = load_config(file, {})
    assert by_file == load_config(preset=name, environ={})[0]
    assert by_file.preset == name
    assert sources.pop("preset") == str(file)
    assert set(sources.values()) <= {"preset"}


def test_the_switch_outweighs_the_file(tmp_path: Path) -> None:
    config, sources = load_config(written(tmp_path, 'preset = "news"\n'), {}, "social")
    assert (config.preset, sources["preset"]) == ("social", "--preset")
    assert "people" in config.placements


def test_a_file_and_the_environment_lie_over_the_preset_value_by_value(tmp_path: Path) -> None:
    file = written(
        tmp_path,
        'preset = "social"\n[user_knn]\nseeds = 32\n'
        '[placements.people]\nn = 5\n[placements.mine]\nsources = ["friends"]\n',
    )
    config, sources = load_config(file, {"ENDCAP_USER_KNN__POSTING": "256"})
    plain = load_config(preset="social", environ={})[0]
    assert config.user_knn == msgspec.structs.replace(plain.user_knn, seeds=32, posting=256)
    assert config.placements["people"] == msgspec.structs.replace(plain.placements["people"], n=5)
    assert config.placements["mine"].sources == ["friends"]
    assert config.placements["groups"] == plain.placements["groups"]
    assert sources["user_knn.seeds"] == sources["placements.people.n"] == str(file)
    assert sources["user_knn.posting"] == "ENDCAP_USER_KNN__POSTING"
    assert sources["user_knn.session_enough"] == sources["placements.people.shows"] == "preset"


def test_rewards_of_a_file_replace_the_presets_whole(tmp_path: Path) -> None:
    file = written(tmp_path, 'preset = "news"\n[feedback]\nrewards = { click = 1.0 }\n')
    assert load_config(file, {})[0].feedback.rewards == {"click": 1.0}


def test_a_whole_config_handed_to_a_training_comes_back_as_it_was(tmp_path: Path) -> None:
    for name in PRESETS:
        config = load_config(preset=name, environ={})[0]
        file = tmp_path / "handed.json"
        file.write_bytes(msgspec.json.encode(config))
        assert load_config(file, {})[0] == config


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('preset = "sociall"\n', "did you mean 'social'?"),
        ("preset = 3\n", "there are shop, news, social"),
        ('preset = "news"\n[user_knn]\nsedes = 3\n', "did you mean user_knn.seeds?"),
        ('preset = "news"\n[placements.home]\nsourcs = []\n', "sourcs"),
        ("placements = 3\n", "placements"),
        ('preset = "social"\nuser_knn = 3\n', "user_knn"),
    ],
)
def test_what_cannot_be_is_refused_with_the_remedy(text: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=re.escape(told)):
        load_config(written(tmp_path, text), {})


def test_the_command_shows_preset_as_the_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    written(tmp_path, 'preset = "news"\n[covisit]\nwindow_h = 3.0\n')
    answer = CliRunner().invoke(app, ["config", "--json"])
    assert answer.exit_code == 0, answer.output
    shown = msgspec.json.decode(answer.stdout)
    assert shown["covisit.window_h"] == {"value": 3.0, "source": "endcap.toml"}
    assert shown["covisit.age_half_life_d"] == {"value": 2.0, "source": "preset"}
    assert shown["server.port"]["source"] == "default"
    answer = CliRunner().invoke(app, ["config", "--json", "--preset", "social"])
    assert msgspec.json.decode(answer.stdout)["user_knn.seeds"] == {"value": 64, "source": "preset"}


@pytest.mark.parametrize("name", ["news", "social"])
def test_every_placement_of_a_preset_answers_over_http(name: str, tmp_path: Path) -> None:
    config = load_config(preset=name, environ={})[0]
    with serving(tmp_path, config=config) as product:
        product.send(*({"type": "view", "user_id": "u", "item_id": item} for item in ("a", "b", "user:v", "group:g")))
        for placement in config.placements:
            slate = product.slate(user_id="w", placement=placement)
            assert slate["degraded"] == []
            shown = {one["item_id"] for one in slate["items"]}
            wanted = {"people": {"user:v"}, "groups": {"group:g"}, "items": {"a", "b"}}
            if shows := config.placements[placement].shows:
                assert shown <= wanted[shows]


def test_the_page_shows_each_preset_as_it_is() -> None:
    text = (ROOT / "docs" / "presets.md").read_text("utf-8")
    blocks = [tomllib.loads(block) for block in re.findall(r"```toml\n(.*?)```", text, re.DOTALL)]
    assert {block["preset"] for block in blocks if "preset" in block} == set(PRESETS)
    for block in blocks:
        assert load_config_of(block)


def load_config_of(block: dict[str, object]) -> Config:
    import tempfile

    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "whole.json"
        file.write_bytes(msgspec.json.encode(block))
        return load_config(file, {})[0]
