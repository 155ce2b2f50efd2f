"""How fraudsters look on the net: devices, addresses and security answers."""

from __future__ import annotations

from typing import Final

import numpy as np

from assay.simulation.customers import (
    Customers,
    draw_carrier_ip,
    draw_home_ip,
    draw_vpn_ip,
)
from assay.simulation.ledger import AVS_RESULTS, CVV_RESULTS, Ledger
from assay.simulation.places import Places
from assay.simulation.wheel import Bools, Ints
from assay.simulation.zones import Zones

_GANGS: Final = 40
"""Fraudsters whose devices come back in campaign after campaign."""


class Disguise:
    """Puts a fraudster's device and address on payments that a till has filled in.

    Parameters
    ----------
    customers : Customers
        Whose device codes come first.
    places, zones
        Where the fraudster may pretend to be.
    device_codes : int
        Codes that are taken already; the gangs' come right after the customers'.
    """

    def __init__(
        self, customers: Customers, places: Places, zones: Zones, device_codes: int = 0
    ) -> None:
        self._customers, self._places, self._zones = customers, places, zones
        self.device_codes = max(device_codes, customers.device_codes + _GANGS)

    def wear(
        self,
        rng: np.random.Generator,
        out: Ledger,
        episode: Ints,
        *,
        own_device: float,
        shared: float,
    ) -> None:
        """Replace device, address, place and security answers, one look for each episode.

        Parameters
        ----------
        rng : Generator
            Source of randomness.
        out : Ledger
            Changed in place.
        episode : ndarray of int, shape (n,)
            Rows of one episode share device and address.
        own_device : float
            Share of episodes run from the customer's own device, by remote control.
        shared : float
            Share of episodes on a device that other campaigns use too.
        """
        n = int(episode.max(initial=-1)) + 1
        gang = rng.integers(0, _GANGS, n) + self._customers.device_codes
        fresh = np.arange(n) + self.device_codes
        self.device_codes += n
        device = np.where(rng.random(n) < shared, gang, fresh)[episode]
        remote = (rng.random(n) < own_device)[episode] | (out.device < 0)
        out.device[:] = np.where(remote, out.device, device)
        country = self._places.country[self._customers.home[out.customer]]
        u = rng.random(n)[episode]
        ip = np.select(
            [u < 0.28, u < 0.68],
            [draw_vpn_ip(rng, n)[episode], draw_carrier_ip(rng, country)],
            draw_home_ip(rng, n)[episode],
        )
        out.ip[:] = np.where(remote, out.ip, ip)
        self._pretend(rng, out, episode, n, remote)
        self._answer(rng, out)

    def _pretend(
        self, rng: np.random.Generator, out: Ledger, episode: Ints, n: int, remote: Bools
    ) -> None:
        """Half tell the place of the victim; the rest tell another, or none."""
        city = self._places.draw(rng, n)[episode]
        abroad = (rng.random(n) < 0.4)[episode] & ~remote
        zone = self._places.zone[city]
        out.offset[:] = np.where(abroad, self._zones.offset_min(zone, out.time), out.offset)
        tells = (rng.random(n) < 0.3)[episode]
        for name, of_city in (
            ("latitude", self._places.latitude),
            ("longitude", self._places.longitude),
        ):
            told = np.where(abroad & tells, of_city[city], np.nan)
            column = getattr(out, name)
            column[:] = np.where(remote | (~abroad & tells), column, told)

    def _answer(self, rng: np.random.Generator, out: Ledger) -> None:
        """Numbers without the right code or address fail the checks more often."""
        typed = out.cvv > 0
        bad = rng.random(len(out)) < 0.14
        out.cvv[typed & bad] = CVV_RESULTS.index("N")
        known = out.avs > 0
        bad = rng.random(len(out)) < 0.3
        out.avs[known & bad] = AVS_RESULTS.index("N")
