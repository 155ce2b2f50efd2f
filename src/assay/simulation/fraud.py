"""What fraudsters do, in campaigns of several kinds."""

from __future__ import annotations

from typing import Final

import numpy as np

from assay.records import DAY_MS, EntryMode, Kind
from assay.simulation.customers import Customers
from assay.simulation.disguise import Disguise
from assay.simulation.events import Event, strength
from assay.simulation.genuine import cumulate, visits
from assay.simulation.ledger import APPROVED, FRAUD_KINDS, RESPONSES, Ledger
from assay.simulation.merchants import Merchants
from assay.simulation.till import TAP_LIMIT_MINOR, Purchase, Till
from assay.simulation.wheel import Floats, Ints
from assay.simulation.zones import HOUR_MS, MINUTE_MS, Zones

FRAUD_RATE: Final = 0.0072
"""Fraud among payments; a voucher ring comes on top."""

SHARES: Final = {
    "stolen_card": 0.20,
    "card_testing": 0.26,
    "account_takeover": 0.18,
    "compromised_merchant": 0.18,
    "impossible_travel": 0.09,
    "first_party": 0.09,
}
VOUCHER_RATE: Final = 0.004
FAR_KM: Final = 1500.0

_COUNTER_LOOT: Final = {
    "Grocer": 0.2, "Electronics": 0.14, "Fuel": 0.12, "Cash Machine": 0.15, "Outfitter": 0.12,
    "Corner Shop": 0.09, "Wine Merchant": 0.06, "Jeweller": 0.04, "Canteen": 0.08,
}  # fmt: skip
_WEB_LOOT: Final = {
    "Marketplace": 0.3, "Gadgets": 0.17, "Fashion": 0.16, "Gift Cards": 0.06, "Games": 0.1,
    "Airline": 0.05, "Food Delivery": 0.06, "Media": 0.06, "Telecom": 0.04,
}  # fmt: skip
_TAKEOVER_LOOT: Final = {"Payee": 0.45, "Marketplace": 0.2, "Gadgets": 0.2, "Gift Cards": 0.15}
_ALWAYS_OPEN: Final = ("Cash Machine", "Fuel", "Taxi", "Hotel")


class Fraud:
    """All campaigns of one world.

    Parameters
    ----------
    customers, merchants, zones, till
        The world they happen in.
    genuine : Ledger
        Honest payments: where cards are stolen, copied and imitated.
    events : tuple of Event
        A voucher ring appears with its event.
    device_codes : int
        Codes that fraudsters of the past have taken.
    """

    def __init__(
        self,
        customers: Customers,
        *,
        merchants: Merchants,
        zones: Zones,
        till: Till,
        genuine: Ledger,
        events: tuple[Event, ...],
        device_codes: int = 0,
    ) -> None:
        self._customers, self._merchants = customers, merchants
        self._zones, self._till, self._genuine, self._events = zones, till, genuine, events
        self._disguise = Disguise(customers, merchants.places, zones, device_codes)
        self._campaigns = 0

    @property
    def device_codes(self) -> int:
        """Number of device codes in use, the customers' included."""
        return self._disguise.device_codes

    def campaigns(self, rng: np.random.Generator) -> Ledger:
        """Return the events of all campaigns but first-party abuse, which adds none."""
        total = len(self._genuine) * FRAUD_RATE
        vouchers = strength(self._events, "voucher_ring", self._genuine.time).sum()
        parts = [
            self._stolen_cards(rng, _episodes(total * SHARES["stolen_card"], 3.6)),
            self._card_tests(rng, _episodes(total * SHARES["card_testing"], 5.4)),
            self._takeovers(rng, _episodes(total * SHARES["account_takeover"], 2.2)),
            self._compromises(rng, _episodes(total * SHARES["compromised_merchant"], 2.2)),
            self._clones(rng, _episodes(total * SHARES["impossible_travel"], 2.0)),
            self._vouchers(rng, round(vouchers * VOUCHER_RATE)),
        ]
        return Ledger.concat(parts)

    def mark_first_party(self, rng: np.random.Generator) -> None:
        """Mark honest-looking web purchases whose buyer will deny having made them."""
        rows = self._genuine
        web = self._merchants.online[rows.merchant] & (rows.response == APPROVED)
        at = np.nonzero(web & (rows.kind == Kind.authorisation))[0]
        count = min(len(at), _episodes(len(rows) * FRAUD_RATE * SHARES["first_party"], 1.0))
        cents = self._till.in_cents(rows, at)
        lure = 0.7 * np.log(cents + 100) + 4.0 * self._customers.abuser[rows.customer[at]]
        chosen = at[np.argsort(lure + rng.gumbel(size=len(at)))[len(at) - count :]]
        self._mark(rows, chosen, "first_party", rows.customer[chosen].astype(np.int64))

    def _stolen_cards(self, rng: np.random.Generator, n: int) -> Ledger:
        """Use a taken wallet at shops and cash machines nearby, until the card is blocked."""
        row = self._anchors(rng, n)
        size = rng.geometric(0.28, n)
        episode = np.repeat(np.arange(n), size)
        city = self._merchants.city[self._genuine.merchant[row]].astype(np.int64)
        delay = rng.exponential(4 * HOUR_MS, n)[episode]
        time = self._genuine.time[row][episode] + delay.astype(np.int64)
        time += cumulate(rng.exponential(50 * MINUTE_MS, len(episode)), size)
        moved = rng.random(len(episode)) < 0.12
        here = city[episode]
        here = np.where(moved, self._merchants.places.draw_in_country(rng, here), here)
        loot = self._draw_loot(rng, _COUNTER_LOOT, len(episode))
        out = self._at_counter(rng, row[episode], here, loot, time, greed=1.6)
        taps = (self._till.in_cents(out, np.arange(len(out))) <= 1.3 * TAP_LIMIT_MINOR) & (
            rng.random(len(out)) < 0.75
        )
        out.entry[taps & (out.entry != EntryMode.unknown)] = EntryMode.contactless
        self._refuse(rng, out, 0.13, ("05", "55", "61"))
        return self._mark(out, None, "stolen_card", self._number(episode))

    def _card_tests(self, rng: np.random.Generator, n: int) -> Ledger:
        """Try stolen numbers with a few small payments, then take a large one."""
        batch = np.arange(n) // 6
        shop = self._draw_shops(rng, batch, {"Charity": 1, "Media": 2, "Telecom": 1, "Games": 2})
        row = self._anchors(rng, n)
        start = self._genuine.time[self._anchors(rng, len(np.unique(batch)))][batch]
        start = start + rng.integers(0, 5 * HOUR_MS, n)
        tests, large = 1 + rng.geometric(0.3, n), rng.binomial(2, 0.65, n)
        small = np.repeat(np.arange(n), tests)
        gap = cumulate(rng.exponential(7 * MINUTE_MS, len(small)), tests)
        probe = self._on_the_web(
            rng,
            row[small],
            shop[small],
            start[small] + gap,
            np.exp(rng.normal(0.8, 0.8, len(small))),
        )
        self._refuse(rng, probe, 0.28, ("05", "14", "54"))
        big = np.repeat(np.arange(n), large)
        wait = 2 * HOUR_MS + rng.exponential(14 * HOUR_MS, len(big)).astype(np.int64)
        target = self._draw_web(rng, _WEB_LOOT, row[big])
        take = self._on_the_web(
            rng, row[big], target, start[big] + wait, self._prices(rng, target, 2.2)
        )
        self._refuse(rng, take, 0.2, ("05", "51", "61"))
        out, owner = Ledger.concat([probe, take]), np.concatenate([small, big])
        self._disguise.wear(rng, out, batch[owner], own_device=0.05, shared=0.5)
        return self._mark(out, None, "card_testing", self._number(batch[owner]))

    def _takeovers(self, rng: np.random.Generator, n: int) -> Ledger:
        """Log in from a new device, often change the profile, then take the money."""
        row = self._anchors(rng, n)
        size = rng.geometric(0.45, n)
        episode = np.repeat(np.arange(n), size)
        start = self._genuine.time[row] + rng.integers(-12 * HOUR_MS, 12 * HOUR_MS, n)
        time = start[episode] + cumulate(rng.exponential(2.5 * HOUR_MS, len(episode)), size)
        time += rng.integers(10 * MINUTE_MS, 90 * MINUTE_MS, n)[episode]
        target = self._draw_web(rng, _TAKEOVER_LOOT, row[episode])
        out = self._on_the_web(rng, row[episode], target, time, self._prices(rng, target, 2.4))
        self._refuse(rng, out, 0.12, ("51", "61"))
        self._disguise.wear(rng, out, episode, own_device=0.08, shared=0.3)
        first = np.cumsum(size) - size
        login = visits(out, first, Kind.login)
        login.time = start.astype(np.int64)
        edits = np.nonzero(rng.random(n) < 0.6)[0]
        change = visits(login, edits, Kind.profile_change)
        change.time = change.time + rng.integers(MINUTE_MS, 9 * MINUTE_MS, len(change))
        owner = self._number(np.concatenate([episode, np.arange(n), edits]))
        return self._mark(Ledger.concat([out, login, change]), None, "account_takeover", owner)

    def _compromises(self, rng: np.random.Generator, n: int) -> Ledger:
        """Abuse cards used at a leaking merchant elsewhere, days to weeks later."""
        row, leak = self._leaked(rng, max(2, n // 25), n)
        size = rng.geometric(0.45, len(row))
        episode = np.repeat(np.arange(len(row)), size)
        span = np.ptp(self._genuine.time)
        wait = rng.exponential(min(12 * DAY_MS, span / 6), len(row)) + HOUR_MS
        time = (self._genuine.time[row] + wait.astype(np.int64))[episode]
        time += cumulate(rng.exponential(9 * HOUR_MS, len(episode)), size)
        web = np.nonzero(rng.random(len(row))[episode] < 0.72)[0]
        counter = np.setdiff1d(np.arange(len(episode)), web)
        target = self._draw_web(rng, _WEB_LOOT, row[episode[web]])
        remote = self._on_the_web(
            rng, row[episode[web]], target, time[web], self._prices(rng, target, 1.5)
        )
        self._refuse(rng, remote, 0.16, ("05", "51", "54"))
        self._disguise.wear(rng, remote, episode[web], own_device=0.05, shared=0.3)
        present = self._copied(rng, row[episode[counter]], time[counter])
        out = Ledger.concat([remote, present])
        number = self._number(np.concatenate([leak[episode[web]], leak[episode[counter]]]))
        return self._mark(out, None, "compromised_merchant", number)

    def _clones(self, rng: np.random.Generator, n: int) -> Ledger:
        """Pay with a copied card far away within hours of its owner paying at home."""
        row = self._anchors(rng, n)
        size = rng.geometric(0.5, n)
        episode = np.repeat(np.arange(n), size)
        wait = rng.uniform(0.3, 3.5, n)[episode] * HOUR_MS
        time = self._genuine.time[row][episode] + wait.astype(np.int64)
        time += cumulate(rng.exponential(25 * MINUTE_MS, len(episode)), size)
        home = self._merchants.city[self._genuine.merchant[row]]
        city = self._merchants.places.draw_far(rng, home, FAR_KM)[episode]
        loot = self._draw_loot(rng, dict.fromkeys(_ALWAYS_OPEN, 1.0), len(episode))
        out = self._at_counter(rng, row[episode], city, loot, time, greed=1.6)
        stripe = rng.random(len(out)) < 0.6
        out.entry[stripe] = EntryMode.magstripe
        self._refuse(rng, out, 0.22, ("05", "61", "65"))
        return self._mark(out, None, "impossible_travel", self._number(episode))

    def _vouchers(self, rng: np.random.Generator, n: int) -> Ledger:
        """Buy one round voucher with each of many cards, from a handful of phones."""
        if n == 0:
            return Ledger.blank(0)
        pull = strength(self._events, "voucher_ring", self._genuine.time)
        row = rng.choice(len(pull), n, p=pull / pull.sum())
        time = self._genuine.time[row] + rng.integers(0, HOUR_MS, n)
        ring = np.arange(n) % max(1, n // 60)
        shop = self._draw_shops(rng, ring, {"Gift Cards": 1, "Telecom": 1})
        out = self._on_the_web(rng, row, shop, time, rng.choice([25.0, 50.0, 100.0], n))
        out.minor = np.maximum(np.round(out.minor / 500) * 500, 500).astype(np.int64)
        self._disguise.wear(rng, out, ring, own_device=0.0, shared=0.0)
        return self._mark(out, None, "voucher_ring", self._number(ring))

    def _copied(self, rng: np.random.Generator, row: Ints, time: Ints) -> Ledger:
        """Pay with counterfeit cards at counters, in the owner's country or another."""
        home = self._merchants.city[self._genuine.merchant[row]]
        abroad = rng.random(len(row)) < 0.5
        places = self._merchants.places
        near, far = places.draw_in_country(rng, home), places.draw_abroad(rng, home)
        loot = self._draw_loot(rng, _COUNTER_LOOT, len(row))
        out = self._at_counter(rng, row, np.where(abroad, far, near), loot, time, greed=1.4)
        out.entry[rng.random(len(out)) < 0.55] = EntryMode.magstripe
        self._refuse(rng, out, 0.2, ("05", "51"))
        return out

    def _leaked(self, rng: np.random.Generator, leaks: int, n: int) -> tuple[Ints, Ints]:
        """Return n honest payments at merchants that leaked just then, and the leak of each."""
        merchant, time = self._genuine.merchant, self._genuine.time
        seen = np.bincount(merchant, minlength=len(self._merchants))
        able = np.nonzero(seen >= min(20, np.sort(seen)[-leaks]))[0]
        span = np.ptp(time)
        row, leak = [], []
        for number, shop in enumerate(rng.choice(able, leaks, replace=False)):
            used = np.nonzero(merchant == shop)[0]
            start = time.min() + rng.random() * span * 0.85
            inside = used[(time[used] >= start) & (time[used] < start + min(span / 3, 30 * DAY_MS))]
            inside = inside if len(inside) else used
            row.append(rng.choice(inside, min(len(inside), -(-n // leaks)), replace=False))
            leak.append(np.full(len(row[-1]), number))
        return np.concatenate(row)[:n], np.concatenate(leak)[:n]

    def _at_counter(
        self,
        rng: np.random.Generator,
        row: Ints,
        city: Ints,
        category: Ints,
        time: Ints,
        *,
        greed: float,
    ) -> Ledger:
        """Return payments at counters with the cards of some honest payments."""
        merchant = self._merchants.draw(rng, city, category)
        seat = self._merchants.city[merchant]
        zone = self._merchants.places.zone[seat]
        local = self._merchants.settle(rng, merchant, self._zones.to_local(zone, time))
        euros = self._prices(rng, merchant, greed)
        when = self._zones.to_utc(zone, local)
        return self._till.ring_up(rng, self._purchase(row, merchant, seat, when, euros))

    def _on_the_web(
        self, rng: np.random.Generator, row: Ints, merchant: Ints, time: Ints, euros: Floats
    ) -> Ledger:
        home = self._customers.home[self._genuine.customer[row]]
        return self._till.ring_up(rng, self._purchase(row, merchant, home, time, euros))

    def _purchase(
        self, row: Ints, merchant: Ints, city: Ints, time: Ints, euros: Floats
    ) -> Purchase:
        customer = self._genuine.customer[row].astype(np.int64)
        card = self._genuine.card[row].astype(np.int64)
        return Purchase(time.astype(np.int64), customer, card, merchant, city, euros)

    def _prices(self, rng: np.random.Generator, merchant: Ints, greed: float) -> Floats:
        kinds, category = self._merchants.categories, self._merchants.category[merchant]
        spread = np.exp(kinds.spread[category] * 0.9 * rng.normal(0, 1, len(merchant)))
        euros = kinds.median[category] * self._merchants.price[merchant] * greed * spread
        return np.asarray(euros)

    def _anchors(self, rng: np.random.Generator, n: int) -> Ints:
        """Return honest payments at random: whom it hits, and when."""
        return rng.integers(0, len(self._genuine), n)

    def _draw_loot(self, rng: np.random.Generator, shares: dict[str, float], n: int) -> Ints:
        weight = np.array(list(shares.values()), np.float64)
        return rng.choice(self._merchants.categories.index(*shares), n, p=weight / weight.sum())

    def _draw_web(self, rng: np.random.Generator, shares: dict[str, float], row: Ints) -> Ints:
        home = self._customers.home[self._genuine.customer[row]]
        return self._merchants.draw(rng, home, self._draw_loot(rng, shares, len(row)))

    def _draw_shops(self, rng: np.random.Generator, group: Ints, shares: dict[str, float]) -> Ints:
        """Return one web shop for each group, repeated for its members."""
        n = int(group.max()) + 1
        return self._merchants.draw(rng, np.zeros(n, np.int64), self._draw_loot(rng, shares, n))[
            group
        ]

    def _refuse(
        self, rng: np.random.Generator, out: Ledger, share: float, codes: tuple[str, ...]
    ) -> None:
        hit = np.nonzero(rng.random(len(out)) < share)[0]
        out.response[hit] = rng.choice([RESPONSES.index(code) for code in codes], len(hit))

    def _number(self, episode: Ints) -> Ints:
        """Return numbers for campaigns that no other has."""
        base, self._campaigns = self._campaigns, self._campaigns + int(episode.max(initial=-1)) + 1
        return base + episode

    def _mark(self, out: Ledger, rows: Ints | None, kind: str, campaign: Ints) -> Ledger:
        at = slice(None) if rows is None else rows
        out.fraud[at] = FRAUD_KINDS.index(kind)
        out.campaign[at] = campaign
        return out


def _episodes(rows: float, rows_each: float) -> int:
    return max(1, round(rows / rows_each))
