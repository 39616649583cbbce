"""Writes the provider's configuration as `up` chose it: only what was chosen, so that a person can read it.

A configuration of the user's (`up --config`) is the base; what it does not say and the cluster at hand wants otherwise
than the provider's own default is added, and so are the address blocks. Blocks stay what they were on the first `up`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from provider.cluster.steps import SetupError
from provider.cluster.whole_file import write_whole
from provider.config.load import ConfigError, load, parse, text_of
from provider.config.profiles import is_file

if TYPE_CHECKING:
    from collections.abc import Mapping

    from provider.cluster.installation import Installation
    from provider.config.schema import ProviderConfig
    from provider.model.ids import ZoneId

__all__ = ["config_text", "given_config", "installed_config", "stored_blocks", "write_config"]

Json = dict[str, Any]

_HEADER = """\
# The configuration of the installation {name}, written by `zonelet up`; the provider reads it when it starts.
# It says only what was chosen here, everything else has its default. To change it, give your own file by
# `zonelet up --config FILE`: what that file leaves out is added again, and the blocks below are kept.
"""

LOCAL_DEFAULTS: Json = {"node": {"taint": "none"}, "runtime": {"imagePull": "preferLocal"}}
"""The local cluster has no other nodes, and most likely no registry."""


def given_config(path: Path | None, name: str) -> tuple[ProviderConfig, Json]:
    """Return the user's configuration, checked and as written; the defaults without a file.

    ConfigError with every mistake; SetupError when the file is another installation's.
    """
    if path is None:
        return parse(""), {}
    text = text_of(path)
    config = parse(text)
    document: Json = yaml.safe_load(text) or {}
    if is_file(config.profile):
        document["profile"] = str(Path(config.profile).absolute())  # the provider runs in another directory
    if "name" in document and config.name != name:
        raise SetupError(
            f"{path} is the configuration of the installation {config.name}",
            f"this command is about the installation {name}",
            f"run: zonelet up --name {config.name} --config {path}",
        )
    return config, document


def stored_blocks(installation: Installation) -> dict[str, str]:
    """Return the CIDR of each zone's only vSwitch as an earlier `up` chose it."""
    config = installed_config(installation)
    if config is None:
        return {}
    return {zone.name: zone.v_switches[0].cidr for zone in config.zones if len(zone.v_switches) == 1}


def installed_config(installation: Installation) -> ProviderConfig | None:
    """Return the configuration that an earlier `up` wrote, None when there is none. SetupError when it is spoiled."""
    if not installation.provider_config.exists():
        return None
    try:
        return load(installation.provider_config)
    except ConfigError as error:
        raise SetupError(
            f"{installation.provider_config} cannot be used",
            "; ".join(error.mistakes),
            f"correct it, or run: zonelet down --name {installation.name}",
        ) from error


def config_text(
    installation: Installation, config: ProviderConfig, given: Json, defaults: Json, blocks: Mapping[ZoneId, str]
) -> str:
    """Return the configuration as YAML: given, then defaults, then a block for each zone that names no vSwitch."""
    document: Json = {
        "apiVersion": config.api_version,
        "kind": config.kind,
        "name": installation.name,
        "stateDir": str(installation.state),
        **given,
    }
    written: list[Json] = given.get("zones") or [{"name": zone.name} for zone in config.zones]
    document["zones"] = [
        zone if zone.get("vSwitches") else {**zone, "vSwitches": [{"cidr": blocks[zone["name"]]}]} for zone in written
    ]
    text = yaml.safe_dump(_filled(document, defaults), sort_keys=False)
    return _HEADER.format(name=installation.name) + text


def write_config(installation: Installation, text: str) -> bool:
    """Write the configuration unless it is there as it should be; return whether it changed."""
    path = installation.provider_config
    if path.exists() and path.read_text() == text:
        return False
    parse(text)  # never leave a file behind that the provider refuses
    write_whole(path, text.encode())
    return True


def _filled(document: Json, defaults: Json) -> Json:
    """Return the document with what it does not say taken from the defaults."""
    merged = dict(document)
    for key, value in defaults.items():
        if isinstance(value, dict):
            merged[key] = _filled(merged.get(key) or {}, value)
        else:
            merged.setdefault(key, value)
    return merged
