// @ts-check
/**
 * A product picture, drawn from what the catalogue says: silhouette from the title, colour, pattern and motif from the
 * attributes. The same item always gets the same picture: every choice that the record leaves open is taken from a hash
 * of its id. The result is SVG text of one to three kilobytes without styles or scripts.
 */
import { ICONS } from "./vendor/icons.js";
import { SHAPES } from "./shapes.js";

/** @typedef {import("./shop/api.js").Item} Item */

/** Title words -> silhouette (a name in SHAPES) or icon ("icon:name"). Words match at their start; first match wins. */
/** @type {[RegExp, string][]} */
const BY_TITLE = [
  [/lunch bag/i, "lunchbag"],
  [/(lunch|snack|bento) box|sandwich/i, "lunchbox"],
  [/hot water|hottie|warmer/i, "hotwater"],
  [/key ?ring|key ?chain|key-chain/i, "icon:key"],
  [/jumbo|shopper|tote|charlotte bag|kids bag|picnic bag|peg bag|recycling/i, "tote"],
  [/cake ?stand|tier/i, "cakestand"],
  [/cake case|petit four|cupcake|fairy cake|muffin/i, "cakecases"],
  [/bunting|pennant|\bflag\b/i, "bunting"],
  [/garland|paper chain|honeycomb|streamer|tinsel/i, "garland"],
  [/alarm clock/i, "alarmclock"],
  [/clock/i, "wallclock"],
  [/hanging.*t-light|t-light.*hanging/i, "hangingLight"],
  [/t-light|votive|candle ?(holder|pot|plate)/i, "tlight"],
  [/candlestick|candelabra|dinner candle/i, "candlestick"],
  [/wicker star/i, "hangingStar"],
  [/candle|wick\b/i, "pillar"],
  [/incense|joss/i, "incense"],
  [/fairy lights|lights|led string|light chain/i, "stringLights"],
  [/lantern/i, "lantern"],
  [/lamp|night light|shade/i, "lamp"],
  [/torch/i, "icon:flashlight"],
  [/chalkboard|blackboard|black board|slate|memo ?board|notice/i, "chalkboard"],
  [/(home|love|bath|kitchen|building) .*block|block word|letter/i, "blocks"],
  [/signs?\b|plaque|tile|billboard|poster|canvas/i, "sign"],
  [/teacup|saucer|tea cup|egg cup/i, "teacup"],
  [/teapot|tea set|tea for one|coffee pot|kettle/i, "icon:teapot"],
  [/paper cup|straw|popcorn/i, "papercup"],
  [/mug|\bcup\b|beaker|tumbler/i, "mug"],
  [/jug|creamer|churn|pitcher/i, "jug"],
  [/watering can/i, "wateringcan"],
  [/doil/i, "doily"],
  [/napkin/i, "napkin"],
  [/plate|platter/i, "plate"],
  [/tray/i, "tray"],
  [/bowl|fruitbowl|dish|ramekin|basin/i, "bowl"],
  [/spoon/i, "icon:spoon"],
  [/cutlery|fork|knife/i, "icon:cutlery"],
  [/frying|pan\b/i, "icon:cooking"],
  [/scales/i, "scales"],
  [/cutter|mould/i, "mould"],
  [/apron/i, "apron"],
  [/towel|flannel|table ?cloth|table run|throw|blanket/i, "towel"],
  [/coaster|placemat|place mat/i, "coaster"],
  [/doormat|\bmat\b|rug/i, "doormat"],
  [/cushion|pillow|doorstop|seat|pad\b/i, "cushion"],
  [/hook|hanger|rack/i, "hook"],
  [/knob/i, "knob"],
  [/cabinet|drawer|chest|shelf|sideboard|stool|wardrobe/i, "cabinet"],
  [/chair/i, "icon:chair"],
  [/trinket|jewel+ery box|jewelled box|keepsake/i, "trinket"],
  [/necklace|pendant|choker|lariat|neckl/i, "necklace"],
  [/earring/i, "earrings"],
  [/bracelet|bangle|anklet|bracel/i, "bracelet"],
  [/hair|comb|tiara|headband/i, "hair"],
  [/\bring\b|brooch|charm/i, "icon:ring"],
  [/scarf|shawl/i, "icon:scarf"],
  [/glove|mitten/i, "icon:gloves"],
  [/sock|slipper/i, "icon:socks"],
  [/\bhat\b|sombrero|\bcap\b/i, "icon:hat"],
  [/wash ?bag|cosmetic|make up|toiletry|pencil case|vanity/i, "washbag"],
  [/purse|wallet|passport|coin/i, "purse"],
  [/handbag|shoulder bag|bag charm|satchel|overnight|weekend/i, "handbag"],
  [/suitcase|luggage|mini case|cabin/i, "icon:luggage"],
  [/umbrella|parasol/i, "umbrella"],
  [/heart of wicker|(white |wicker )+heart|heart.*wicker/i, "hangingHeart"],
  [/basket|hamper|wicker/i, "basket"],
  [/gift bag|carrier|\bbag\b/i, "giftbag"],
  [/wrap\b|wrapping/i, "wrap"],
  [/ribbon|\bbow\b/i, "icon:ribbon"],
  [/gift|present/i, "icon:gift"],
  [/card\b|postcard|invite|valentine/i, "card"],
  [/notebook|journal|diary|book|calendar|sketch|notepad|album/i, "notebook"],
  [/pencil|crayon|chalk/i, "pencils"],
  [/\bpen\b/i, "pen"],
  [/scissor/i, "icon:scissors"],
  [/sticker|tattoo|transfer/i, "stickers"],
  [/magnet/i, "icon:magnet"],
  [/tape/i, "tape"],
  [/tissue/i, "tissues"],
  [/plaster|first aid/i, "tin"],
  [/soap|duck/i, "icon:soap"],
  [/sponge/i, "icon:sponge"],
  [/balm|lip/i, "icon:lipstick"],
  [/bath|cream\b.*hand|lotion/i, "icon:lotion"],
  [/frame|photo|picture/i, "frame"],
  [/mirror/i, "mirror"],
  [/wine|champagne|goblet/i, "icon:wine"],
  [/cocktail/i, "icon:cocktail"],
  [/bottle|decanter|carafe/i, "bottle"],
  [/glass(?!.*heart)/i, "glass"],
  [/bird ?house|bird ?cage|feeder|nest box|bird table/i, "birdhouse"],
  [/planter|plant|pot\b|herb/i, "icon:plant"],
  [/garden (fork|spade|tool|set)|trowel|spade|gardener/i, "tools"],
  [/thermometer/i, "icon:thermometer"],
  [/bucket/i, "icon:bucket"],
  [/wind ?chime|chime/i, "icon:chime"],
  [/windmill/i, "icon:sunflower"],
  [/jam|jar\b|honey/i, "jar"],
  [/tin\b|tins\b|canister|caddy|bin\b|biscuit|container|storage pot/i, "tin"],
  [/wreath/i, "wreath"],
  [/bauble|snow ?globe/i, "bauble"],
  [/money (box|bank)|piggy|\bbank\b/i, "bank"],
  [/babushka/i, "icon:doll"],
  [/doll|princess|playhouse|puppet/i, "toybox"],
  [/teddy|bear|soft toy/i, "icon:bear"],
  [/jigsaw|puzzle/i, "icon:puzzle"],
  [/knitting|crochet|wool/i, "icon:yarn"],
  [/sewing|thread|button|feltcraft/i, "icon:thread"],
  [/domino|dice|game|snap|ludo/i, "icon:die"],
  [/paint/i, "icon:palette"],
  [/drum/i, "icon:drum"],
  [/harmonica|recorder|music|trumpet|piano/i, "icon:musical"],
  [/kite|glider/i, "icon:kite"],
  [/balloon/i, "icon:balloon"],
  [/party|confetti|cone/i, "icon:party"],
  [/egg/i, "icon:egg"],
  [/radio|ipod|boombox/i, "icon:radio"],
  [/phone/i, "icon:phone"],
  [/broom|brush|dustpan/i, "icon:broom"],
  [/\bkey\b/i, "icon:key"],
  [/vase|flower|rose\b|blossom|tulip|orchid|bouquet/i, "vase"],
  [/heart/i, "hangingHeart"],
  [/star\b|stars\b/i, "hangingStar"],
  [/feather/i, "icon:feather"],
  [/bell/i, "icon:bell"],
  [/wallet|clutch/i, "purse"],
  [/box|case\b|crate/i, "box"],
  [/retrospot|spaceboy|set of/i, "giftbag"],
];

/** Leaf category -> silhouette, where the title names none. */
/** @type {Record<string, string>} */
const BY_CATEGORY = {
  Christmas: "bauble",
  Easter: "icon:nest",
  Ornaments: "hangingHeart",
  "Craft and Sewing": "icon:yarn",
  "Games and Puzzles": "icon:yoyo",
  "Dolls and Soft Toys": "toybox",
  "Vases and Flowers": "vase",
  "Garden Decor": "birdhouse",
  "Garden Tools": "tools",
  "Candles and Scent": "incense",
  "Rings and Brooches": "icon:gem",
  "Notebooks and Pens": "notebook",
  "Furniture and Storage": "box",
  "Bath and Soap": "icon:soap",
  "Tins and Jars": "tin",
  Travel: "icon:luggage",
  "Cutlery and Utensils": "icon:cutlery",
};

/** Colour word -> base, shade, light. */
/** @type {Record<string, [string, string, string]>} */
const COLORS = {
  red: ["#d8434a", "#a82c38", "#f2a3a3"],
  pink: ["#ec85a6", "#c85a80", "#fbd0dc"],
  blue: ["#4c86c6", "#2f629c", "#bcd8f0"],
  green: ["#5f9f6b", "#417a4d", "#c2e0c2"],
  turquoise: ["#4fb3ae", "#33878a", "#bfe6e0"],
  purple: ["#8f6bb8", "#6a4a92", "#d9c8ec"],
  yellow: ["#f0c04c", "#cf982a", "#fbe7b0"],
  orange: ["#ea8f4c", "#c56c2e", "#fbd5b0"],
  black: ["#474b55", "#2d3038", "#a9adb8"],
  white: ["#f4f1ea", "#cfc9bd", "#ffffff"],
  ivory: ["#ecdfc3", "#c9b58c", "#fbf4e2"],
  silver: ["#b9c1cb", "#8b95a2", "#e8ecf0"],
  gold: ["#d9b054", "#b08733", "#f5e2ad"],
  brown: ["#a9774d", "#7e5432", "#dfc0a0"],
  grey: ["#8b929c", "#636a74", "#d3d7dc"],
};
const OPEN_COLORS = ["red", "blue", "green", "turquoise", "pink", "purple", "yellow", "orange", "ivory"];

/** Backdrops: two stops each, pale enough that any product stands out. */
const BACKDROPS = [
  ["#fdf1e7", "#f6dcc8"], ["#eef4f1", "#cfe2d9"], ["#eef2fb", "#cfdcf2"], ["#fbeff2", "#f1d3dc"],
  ["#f6f1fb", "#ddd0ee"], ["#fdf7e3", "#f3e3b3"], ["#eef6f8", "#cbe3ea"], ["#f5f2ec", "#e0d8c8"],
];

/** Backdrop that is never the product's own colour. */
/** @type {Record<string, number[]>} */
const FITTING = {
  red: [5, 6, 7, 2], pink: [1, 6, 2, 7], blue: [0, 5, 3, 7], green: [0, 3, 5, 4], turquoise: [0, 3, 5, 7],
  purple: [5, 0, 1, 7], yellow: [2, 6, 4, 1], orange: [6, 2, 1, 4], black: [0, 5, 3, 1], white: [2, 1, 3, 6],
  ivory: [1, 2, 3, 6], silver: [3, 0, 4, 5], gold: [2, 4, 1, 3], brown: [1, 6, 5, 2], grey: [0, 3, 5, 4],
};

/** FNV-1a, 32 bit: small, steady, good enough to pick a backdrop. */
export function hash(/** @type {string} */ text) {
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  return h >>> 0;
}

const TITLE_WORDS = BY_TITLE.map(([words, name]) => /** @type {const} */ ([new RegExp(`\\b(?:${words.source})`, "i"), name]));

function silhouette(/** @type {Item} */ item) {
  const title = item.title ?? "";
  for (const [words, name] of TITLE_WORDS) if (words.test(title)) return name;
  return BY_CATEGORY[item.categories?.[0]?.at(-1) ?? ""] ?? "icon:gift";
}

/** Pattern tile in `on` over the base colour; "" when the record names none. */
function patternTile(/** @type {string | undefined} */ pattern, /** @type {string} */ id, /** @type {string} */ on, /** @type {string} */ soft) {
  const tile = (/** @type {number} */ size, /** @type {string} */ body, turn = 0) =>
    `<pattern id="${id}" width="${size}" height="${size}" patternUnits="userSpaceOnUse" patternTransform="rotate(${turn})">${body}</pattern>`;
  switch (pattern) {
    case "polka dot":
      return tile(14, `<circle cx="3.500" cy="3.500" r="2.800" fill="${on}"/><circle cx="10.500" cy="10.500" r="2.800" fill="${on}"/>`);
    case "stripe":
      return tile(12, `<rect width="6" height="12" fill="${on}" opacity=".75"/>`, 0);
    case "gingham":
      return tile(14, `<rect width="7" height="14" fill="${on}" opacity=".4"/><rect width="14" height="7" fill="${on}" opacity=".4"/>`);
    case "paisley":
      return tile(20, `<path d="M4 12c0-6 8-8 9-2 1 4-3 6-5 4" fill="none" stroke="${on}" stroke-width="2" stroke-linecap="round" opacity=".8"/><circle cx="15" cy="4" r="1.600" fill="${soft}"/>`, 18);
    case "floral":
      return tile(20, `<g transform="translate(6 6)"><circle cy="-3" r="2.200" fill="${on}"/><circle cy="3" r="2.200" fill="${on}"/><circle cx="-3" r="2.200" fill="${on}"/><circle cx="3" r="2.200" fill="${on}"/><circle r="1.800" fill="#f5c04a"/></g><circle cx="16" cy="16" r="1.800" fill="${soft}"/>`);
    case "union jack":
      return tile(44, `<path d="M0 0l44 44M44 0L0 44" stroke="#fff" stroke-width="7"/><path d="M0 0l44 44M44 0L0 44" stroke="#cf3341" stroke-width="2.500"/><path d="M22 0v44M0 22h44" stroke="#fff" stroke-width="12"/><path d="M22 0v44M0 22h44" stroke="#cf3341" stroke-width="7"/>`);
    default:
      return "";
  }
}

/** An icon of the vendored set, centred at (x, y), `size` wide; its inner ids get this picture's prefix. */
function icon(/** @type {string} */ name, /** @type {number} */ x, /** @type {number} */ y, /** @type {number} */ size, /** @type {string} */ prefix) {
  const body = (/** @type {Record<string, string>} */ (ICONS))[name];
  return body ? `<g transform="translate(${x - size / 2} ${y - size / 2}) scale(${size / 32})">${body.replaceAll("@", prefix)}</g>` : "";
}

/**
 * SVG text for one item.
 * @param {Item} item
 * @param {string} [prefix] makes inner ids unique on a page
 */
export function picture(item, prefix = `p${hash(item.item_id).toString(36)}`) {
  const seed = hash(item.item_id);
  const pattern = item.pattern ?? undefined;
  const color = pattern === "union jack" ? "blue" : item.color && COLORS[item.color] ? item.color : OPEN_COLORS[seed % OPEN_COLORS.length];
  const [base, deep, pale] = COLORS[color];
  const [from, to] = BACKDROPS[FITTING[color][(seed >>> 8) % FITTING[color].length]];
  const on = color === "white" || color === "ivory" ? "#d8848f" : "#fff";
  const tile = patternTile(pattern, `${prefix}t`, on, pale);
  const name = silhouette(item);
  const motif = typeof item.attributes?.motif === "string" ? item.attributes.motif : "";
  const shape = SHAPES[name];
  const lean = (((seed >>> 16) % 9) - 4) * 1.1 + (shape?.lean ?? 0);
  let body;
  if (shape) {
    const printed = shape.at && ICONS_FOR_PRINT.has(motif) ? print(motif, shape.at, prefix, Boolean(tile)) : "";
    body = shape.draw({ base, deep, pale, fill: tile ? `url(#${prefix}t)` : "none", ink: "#3b3a40" }) + printed;
  } else {
    body = icon(name.slice(5), 50, 50, 88, prefix);
  }
  return (
    `<svg viewBox="0 0 160 160" xmlns="http://www.w3.org/2000/svg" aria-hidden="true" focusable="false"><defs>` +
    `<radialGradient id="${prefix}b" cx=".35" cy=".25" r="1"><stop offset="0" stop-color="${from}"/><stop offset="1" stop-color="${to}"/></radialGradient>` +
    `<radialGradient id="${prefix}s"><stop offset="0" stop-color="#3a2a1a" stop-opacity=".34"/><stop offset="1" stop-color="#3a2a1a" stop-opacity="0"/></radialGradient>${tile}</defs>` +
    `<rect width="160" height="160" fill="url(#${prefix}b)"/><circle cx="${112 + (seed % 20)}" cy="${30 + ((seed >>> 4) % 24)}" r="54" fill="#fff" opacity=".28"/>` +
    `<ellipse cx="80" cy="139" rx="54" ry="9" fill="url(#${prefix}s)"/>` +
    `<g transform="translate(80 80) rotate(${lean.toFixed(1)}) scale(1.2) translate(-50 -50)">${body}</g></svg>`
  );
}

const ICONS_FOR_PRINT = new Set(Object.keys(ICONS));

/** A motif printed on a product; over a pattern it sits on a round label, so that both stay readable. */
function print(/** @type {string} */ motif, /** @type {[number, number, number]} */ [x, y, size], /** @type {string} */ prefix, /** @type {boolean} */ label) {
  const disc = `<circle cx="${x}" cy="${y}" r="${size * 0.62}" fill="#fffdf8" opacity="${label ? 0.95 : 0.8}"/>`;
  return disc + icon(motif, x, y, size * 0.84, prefix);
}
