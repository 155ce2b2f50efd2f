"""A seeded world: what customers, merchants and fraudsters do, with the truth beside it."""

from assay.simulation.events import Event
from assay.simulation.world import World
from assay.simulation.world_data import WorldData
from assay.simulation.world_settings import WorldSettings

__all__ = ["Event", "World", "WorldData", "WorldSettings"]
