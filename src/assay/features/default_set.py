"""The features that Assay ships: what a fraud analyst asks first of a card payment."""

from __future__ import annotations

from assay.features.definitions import (
    Condition,
    Count,
    Distance,
    Distinct,
    EntityName,
    Feature,
    FeatureSet,
    Input,
    IsNew,
    LocalTime,
    Mean,
    Ratio,
    Share,
    SinceFirst,
    SinceLast,
    Speed,
    Std,
    Sum,
    Test,
    ZScore,
    window_ms,
)
from assay.records import SCORED_KINDS, Channel, Kind, pack2

PAYMENT = Condition(
    "payment",
    (Test("kind", "in", tuple(int(k) for k in SCORED_KINDS)), Test("amount_ref", ">=", (0,))),
)
SMALL = PAYMENT & Condition("small", (Test("amount_ref", "<", (500,)),))
"""Card testers probe with amounts under five units of the reference currency."""
DECLINED = PAYMENT & Condition("declined", (Test("response", "not in", (0, pack2("00"))),))
"""For a caller that sends the issuer's answer with the payment.

Not in the default set: whoever asks before the issuer has answered cannot send it, and a window
that history fills and live traffic leaves empty would mislead the model.
"""
ONLINE = PAYMENT & Condition("online", (Test("channel", "in", (int(Channel.ecommerce),)),))
LOGIN = Condition("login", (Test("kind", "in", (int(Kind.login),)),))
PROFILE_CHANGE = Condition("profile_change", (Test("kind", "in", (int(Kind.profile_change),)),))


def _inputs() -> list[Feature]:
    return [
        Input(name="amount_ref", field="amount_ref", unit="minor", description="Amount."),
        Input(name="category", field="category", description="Merchant category, ISO 18245."),
        Input(name="country", field="country", description="Merchant country, packed letters."),
        Input(name="currency", field="currency", description="Currency, ISO 4217 number."),
        Input(name="channel", field="channel", description="Where the payment was made."),
        Input(name="entry_mode", field="entry_mode", description="How the card was read."),
        Input(name="kind", field="kind", description="Authorisation, transfer and so on."),
        Input(name="cvv_result", field="cvv", description="Result of the CVV check."),
        Input(name="avs_result", field="avs", description="Result of the address check."),
        LocalTime(name="hour", part="hour", unit="h", description="Local hour at the merchant."),
        LocalTime(name="weekday", part="weekday", description="Local weekday, Monday 0."),
    ]


def _counts(
    entity: EntityName, stem: str, where: Condition, what: str, *windows: str
) -> list[Feature]:
    return [
        Count(
            name=f"{entity}_{stem}_{w}",
            entity=entity,
            window_ms=window_ms(w),
            where=where,
            unit="events",
            description=f"{what} of the {entity} in {w}.",
        )
        for w in windows
    ]


def _amounts(
    kind: type[Sum | Mean | Std], entity: EntityName, stem: str, what: str, *windows: str
) -> list[Feature]:
    return [
        kind(
            name=f"{entity}_{stem}_{w}",
            entity=entity,
            window_ms=window_ms(w),
            where=PAYMENT,
            unit="minor",
            description=f"{what} of the {entity}'s payments in {w}.",
        )
        for w in windows
    ]


def _distinct(entity: EntityName, field: str, *windows: str) -> list[Feature]:
    return [
        Distinct(
            name=f"{entity}_distinct_{field}_{w}",
            entity=entity,
            field=field,
            window_ms=window_ms(w),
            unit="values",
            description=f"Different values of {field} seen by the {entity} in {w}.",
        )
        for w in windows
    ]


def _new(entity: EntityName, *fields: str) -> list[Feature]:
    return [
        IsNew(
            name=f"{entity}_new_{field}_90d",
            entity=entity,
            field=field,
            description=f"1 if the {entity} has not seen this {field} in 90 days.",
        )
        for field in fields
    ]


def _since(entity: EntityName, stem: str, where: Condition, what: str) -> Feature:
    return SinceLast(
        name=f"{entity}_since_{stem}_s",
        entity=entity,
        where=where,
        unit="s",
        description=f"Seconds since the {entity}'s last {what}.",
    )


def _first(entity: EntityName) -> Feature:
    return SinceFirst(
        name=f"{entity}_since_first_s",
        entity=entity,
        unit="s",
        description=f"Seconds since the {entity} was first seen, within 90 days.",
    )


def _share(
    entity: EntityName, stem: str, where: Condition, window: str, description: str
) -> Feature:
    return Share(
        name=f"{entity}_{stem}_share_{window}",
        entity=entity,
        window_ms=window_ms(window),
        where=where,
        of=PAYMENT,
        unit="share",
        description=description,
    )


def _card() -> list[Feature]:
    return [
        *_counts("card", "count", PAYMENT, "Payments", "10m", "1h", "24h", "7d", "30d", "90d"),
        *_counts("card", "small_count", SMALL, "Small payments", "1h", "24h"),
        *_amounts(Sum, "card", "sum", "Sum", "1h", "24h", "7d", "30d"),
        *_amounts(Mean, "card", "mean", "Mean", "7d", "30d", "90d"),
        *_amounts(Std, "card", "std", "Standard deviation", "30d"),
        _share("card", "online", ONLINE, "30d", "Share of the card's payments made online."),
        *_distinct("card", "merchant", "24h", "7d"),
        *_distinct("card", "country", "24h"),
        *_distinct("card", "device", "7d"),
        *_new("card", "merchant", "device", "country", "category"),
        _since("card", "payment", PAYMENT, "payment"),
        _first("card"),
        Distance(
            name="card_distance_km",
            entity="card",
            unit="km",
            description="Distance from the card's last known place.",
        ),
        Speed(
            name="card_speed_kmh",
            entity="card",
            unit="km/h",
            description="Speed needed to come from the card's last known place.",
        ),
        Ratio(
            name="card_amount_ratio_30d",
            over="amount_ref",
            under="card_mean_30d",
            description="Amount over the card's mean in 30 days.",
        ),
        ZScore(
            name="card_amount_z_30d",
            value="amount_ref",
            mean="card_mean_30d",
            deviation="card_std_30d",
            description="Amount against the card's habit, in standard deviations.",
        ),
        Ratio(
            name="card_rate_ratio_24h",
            over="card_count_24h",
            under="card_count_30d",
            scale=30.0,
            description="Payments in a day over the card's daily mean in 30 days.",
        ),
    ]


def _customer() -> list[Feature]:
    return [
        *_counts("customer", "count", PAYMENT, "Payments", "1h", "24h"),
        *_counts("customer", "logins", LOGIN, "Logins", "24h"),
        *_counts("customer", "profile_changes", PROFILE_CHANGE, "Profile changes", "7d"),
        *_amounts(Sum, "customer", "sum", "Sum", "24h", "7d"),
        *_distinct("customer", "device", "7d"),
        *_new("customer", "device"),
        _since("customer", "login", LOGIN, "login"),
        _since("customer", "profile_change", PROFILE_CHANGE, "profile change"),
    ]


def _merchant() -> list[Feature]:
    return [
        *_counts("merchant", "count", PAYMENT, "Payments", "1h", "24h", "7d"),
        *_amounts(Mean, "merchant", "mean", "Mean", "7d", "30d"),
        *_amounts(Std, "merchant", "std", "Standard deviation", "30d"),
        _share("merchant", "small", SMALL, "1h", "Share of small payments there."),
        _first("merchant"),
        ZScore(
            name="merchant_amount_z_30d",
            value="amount_ref",
            mean="merchant_mean_30d",
            deviation="merchant_std_30d",
            description="Amount against the merchant's usual, in standard deviations.",
        ),
    ]


def _device() -> list[Feature]:
    return [
        *_counts("device", "count", PAYMENT, "Payments", "1h", "24h", "7d"),
        *_distinct("device", "card", "7d"),
        _first("device"),
    ]


def default_features() -> FeatureSet:
    """Return the default feature set over card, customer, merchant and device.

    Examples
    --------
    >>> len(default_features().names) >= 24
    True
    """
    return FeatureSet((*_inputs(), *_card(), *_customer(), *_merchant(), *_device()))
