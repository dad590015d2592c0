"""Settings that are read from the layers of one load, and from no place unasked."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.config.sources import Layer

__all__ = ["LayeredSettings", "reading"]

_layers: ContextVar[tuple[Layer, ...]] = ContextVar("_layers", default=())


@contextmanager
def reading(layers: tuple[Layer, ...]) -> Iterator[None]:
    """Have settings that are made in the block read these layers, of which the first one wins."""
    token = _layers.set(layers)
    try:
        yield
    finally:
        _layers.reset(token)


class LayeredSettings(BaseSettings):
    """A base for settings: what it is given by keyword, then the layers; no environment and no file by itself."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the base's signature
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the base's signature
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the base's signature
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the base's signature
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The keywords and the layers of the load under way."""
        return (init_settings, *_layers.get())
