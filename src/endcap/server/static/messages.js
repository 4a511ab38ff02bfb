// @ts-check
/**
 * Every sentence a visitor can read. A language is one table; what a table lacks falls back to English. `{name}` is
 * filled in; `{item}` in a reason becomes a link, so its place in the sentence is the translator's choice.
 */

/** @type {Record<string, Record<string, string>>} */
const MESSAGES = {
  en: {
    "shop.name": "Endcap",
    "shop.kind": "Gifts and homeware",
    "shop.skip": "Skip to the products",
    "shop.note": "A demo shop on real purchases (Online Retail, 2010-2011). Nothing is for sale; the pictures are drawn.",
    "nav.home": "Home",
    "nav.cart": "Cart",
    "nav.cart.count": "Cart, {n} items",
    "nav.departments": "Departments",
    "nav.all": "All of {name}",
    "search.label": "Search products",
    "search.placeholder": "Mugs, lanterns, bunting ...",
    "search.title": "Results for {query}",
    "search.none": "No product matches {query}. Try a single word, such as bag or candle.",
    "search.count": "{n} products",
    "hero.title": "The shelf that follows your eye",
    "hero.cold": "Open anything that catches your eye. The shelf below is rearranged with every click.",
    "hero.warm": "Welcome back. This shelf knows your last {n} clicks.",
    "shelf.for_you": "For you",
    "shelf.for_you.cold": "Popular to start with",
    "shelf.trending": "Trending now",
    "shelf.trending.here": "Trending in {region}",
    "shelf.trending.when": "around {hour}:00, on {device}",
    "shelf.similar": "Similar",
    "shelf.bought": "Bought together",
    "shelf.complete": "Complete your cart",
    "shelf.empty": "Nothing here yet. Look at a few products first.",
    "shelf.updated": "{shelf} updated: {n} of {all} products are new.",
    "shelf.failed": "This shelf could not be loaded: {message}",
    "shelf.back": "Scroll {shelf} back",
    "shelf.on": "Scroll {shelf} on",
    "product.add": "Add to cart",
    "product.added": "Added to your cart",
    "product.more": "Add another",
    "product.gone": "Out of stock",
    "product.missing": "This product is not in the catalogue.",
    "product.category": "Category",
    "product.range": "Range",
    "product.color": "Colour",
    "product.material": "Material",
    "product.pattern": "Pattern",
    "product.code": "Stock code",
    "cart.title": "Your cart",
    "cart.empty": "Your cart is empty.",
    "cart.browse": "Look around",
    "cart.remove": "Remove",
    "cart.remove.item": "Remove {title}",
    "cart.less": "One less of {title}",
    "cart.more": "One more of {title}",
    "cart.total": "Total",
    "cart.checkout": "Buy",
    "cart.thanks": "Thank you. Your order is in the log, and the shelves know it already.",
    "new.badge": "new",
    // reasons: the codes the engine gives
    "why.viewed_together": "Because you looked at {item}",
    "why.next_step": "Often the next step after {item}",
    "why.bought_together": "Often bought with {item}",
    "why.session_like_yours": "From visits like yours, with {item}",
    "why.shoppers_like_you": "Chosen by shoppers with your taste",
    "why.your_history": "You looked at this before",
    "why.in_your_cart": "Waiting in your cart",
    "why.trending": "Trending now",
    "why.trending.value": "Trending in {value}",
    "why.popular_here": "Popular in {value}",
    "why.popular_at_this_hour": "Popular around this hour",
    "why.popular_in_category": "Popular in {value}",
    "why.favourite_category": "You like {value}",
    "why.favourite_brand": "You like the {value} range",
    "why.new": "New in the shop",
    "why.pinned": "Picked by the shop",
    "why.promoted": "Promoted by the shop",
    "why.similar_to": "Similar to {item}",
    "why.friends_in_common": "Followed by people you follow",
    "why.matches_query": "Matches {value}",
    "why.means_alike": "Close to what you asked for",
    "why.here.viewed_together": "Often looked at together",
    "why.here.next_step": "Often the next step",
    "why.here.bought_together": "Often bought together",
    "why.here.session_like_yours": "From visits that had both",
    "why.bare.viewed_together": "Like what you looked at",
    "why.bare.next_step": "Often the next step",
    "why.bare.similar_to": "Similar to what you looked at",
    "why.bare.bought_together": "Often bought with yours",
    "why.bare.session_like_yours": "From visits like yours",
    "why.bare.popular_here": "Popular where you are",
    "why.bare.popular_in_category": "Popular in its category",
    "why.bare.favourite_category": "From a category you like",
    "why.bare.favourite_brand": "From a range you like",
    "why.other": "Suggested for you",
    // the panel
    "panel.title": "Behind the counter",
    "panel.intro": "What the engine believes about you, after every click.",
    "panel.open": "Behind the counter",
    "panel.close": "Close",
    "panel.speed": "From click to changed shelf",
    "panel.speed.none": "Open a product to see the time from your click to the changed shelf.",
    "panel.speed.unit": "ms",
    "panel.speed.stored": "stored safely",
    "panel.speed.answered": "new answer",
    "panel.speed.drawn": "drawn",
    "panel.speed.changed": "{n} of {all} products changed",
    "panel.speed.median": "median {ms} ms over {n} clicks",
    "panel.warmth": "How well we know you",
    "panel.warmth.cold": "a stranger",
    "panel.warmth.warm": "a first impression",
    "panel.warmth.hot": "a clear picture",
    "panel.events": "{session} in this visit, {total} in all",
    "panel.categories": "Categories",
    "panel.ranges": "Ranges",
    "panel.items": "On your mind",
    "panel.nothing": "Nothing yet.",
    "panel.recent": "Your last steps",
    "panel.moment": "The moment",
    "panel.moment.hint": "Changes what is trending.",
    "panel.hour": "Hour",
    "panel.region": "Country",
    "panel.device": "Device",
    "panel.forget": "Forget me",
    "panel.forget.hint": "Erases every event of this visitor from the log, then starts a new one.",
    "panel.forgotten": "Forgotten: {n} events are gone.",
    "device.desktop": "desktop",
    "device.mobile": "mobile",
    "device.tablet": "tablet",
    "step.view": "Looked at",
    "step.cart_add": "Put in the cart",
    "step.cart_remove": "Took out of the cart",
    "step.purchase": "Bought",
    "step.search": "Searched for",
    "problem": "The engine did not answer: {message}",
  },
};

const language = (navigator.language ?? "en").slice(0, 2);
const table = { ...MESSAGES.en, ...MESSAGES[language] };
document.documentElement.lang = MESSAGES[language] ? language : "en";

export const has = (/** @type {string} */ key) => key in table;

/** The sentence with its gaps filled. */
export function t(/** @type {string} */ key, /** @type {Record<string, string | number>} */ values = {}) {
  return (table[key] ?? key).replace(/\{(\w+)\}/g, (gap, name) => String(values[name] ?? gap));
}

/** The sentence cut at `{item}`: text before, text after, or null when it names no item. */
export function around(/** @type {string} */ key, /** @type {Record<string, string | number>} */ values = {}) {
  const [before, after] = t(key, values).split("{item}");
  return after === undefined ? null : { before, after };
}

const prices = new Map();
/** Money in the visitor's notation. */
export function money(/** @type {number} */ amount, currency = "GBP") {
  if (!prices.has(currency)) prices.set(currency, new Intl.NumberFormat(document.documentElement.lang, { style: "currency", currency }));
  return prices.get(currency).format(amount);
}
