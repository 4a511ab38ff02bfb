"""The platforms whose files and requests we read, by the name that ``endcap import`` and the quarantine use."""

from __future__ import annotations

from endcap.events.adapters.cloudevents import CloudEvents
from endcap.events.adapters.ga4 import GoogleAnalytics
from endcap.events.adapters.gorse import Gorse
from endcap.events.adapters.mapping import Mapped
from endcap.events.adapters.metarank import Metarank
from endcap.events.adapters.personalize import Personalize
from endcap.events.adapters.recombee import Recombee
from endcap.events.adapters.retail import GoogleRetail
from endcap.events.adapters.segment import Segment
from endcap.events.adapters.shopify import ShopifyPixel, ShopifyWebhook
from endcap.events.adapters.snowplow import Snowplow
from endcap.events.adapters.woocommerce import WooCommerce

PLATFORMS: dict[str, type[Mapped]] = {
    kind.name: kind
    for kind in (
        Segment,
        GoogleAnalytics,
        GoogleRetail,
        Personalize,
        ShopifyPixel,
        ShopifyWebhook,
        WooCommerce,
        CloudEvents,
        Recombee,
        Snowplow,
        Gorse,
        Metarank,
    )
}
