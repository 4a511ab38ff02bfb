// @ts-check
/**
 * Product silhouettes, drawn in a box of 100 x 100. A shape takes paint and gives SVG text; `at` is where a motif may be
 * printed (centre x, centre y, size). Everything is attributes: no style, so a strict content policy is content.
 *
 * @typedef {{ base: string, deep: string, pale: string, fill: string, ink: string }} Paint
 *   base, deep, pale: the product's colour and its shade and light; fill: base or the url of a pattern; ink: outlines
 * @typedef {{ draw: (paint: Paint) => string, at?: [number, number, number], lean?: number }} Shape
 */

const gloss = (/** @type {string} */ d) => `<path d="${d}" fill="#fff" opacity=".28"/>`;
const shade = (/** @type {string} */ d) => `<path d="${d}" fill="#000" opacity=".12"/>`;
const flame = (/** @type {number} */ x, /** @type {number} */ y, size = 1) =>
  `<path d="M${x} ${y - 11 * size}c${5 * size} ${6 * size} ${5 * size} ${11 * size} 0 ${11 * size}s${-5 * size} ${-5 * size} 0 ${-11 * size}z" fill="#ffb02e"/>` +
  `<path d="M${x} ${y - 6 * size}c${2.4 * size} ${3 * size} ${2.4 * size} ${6 * size} 0 ${6 * size}s${-2.4 * size} ${-3 * size} 0 ${-6 * size}z" fill="#fff3c4"/>`;

const pennant = (/** @type {number} */ x, /** @type {number} */ y, /** @type {string} */ fill) =>
  `<path d="M${x - 8} ${y}h16l-8 22z" fill="${fill}"/>`;

/** @type {Record<string, Shape>} */
export const SHAPES = {
  tote: {
    draw: (c) =>
      `<path d="M35 40V28c0-20 30-20 30 0v12" fill="none" stroke="${c.deep}" stroke-width="5" stroke-linecap="round"/>` +
      `<path d="M18 36h64l5 50a5 5 0 0 1-5 5H18a5 5 0 0 1-5-5z" fill="${c.base}"/><path d="M18 36h64l5 50a5 5 0 0 1-5 5H18a5 5 0 0 1-5-5z" fill="${c.fill}"/>` +
      shade("M18 36h64l.8 8H17.200z") + gloss("M22 48h7l-3 40h-8z"),
    at: [50, 66, 30],
    lean: 3,
  },
  lunchbag: {
    draw: (c) =>
      `<path d="M38 24c0-14 24-14 24 0" fill="none" stroke="${c.deep}" stroke-width="5"/>` +
      `<rect x="20" y="22" width="60" height="68" rx="7" fill="${c.base}"/><rect x="20" y="22" width="60" height="68" rx="7" fill="${c.fill}"/>` +
      `<rect x="20" y="22" width="60" height="15" rx="7" fill="${c.deep}"/><rect x="44" y="27" width="12" height="5" rx="2.500" fill="#fff" opacity=".8"/>` +
      gloss("M26 42h6v44h-6z"),
    at: [50, 63, 30],
    lean: -3,
  },
  lunchbox: {
    draw: (c) =>
      `<path d="M38 32c0-14 24-14 24 0" fill="none" stroke="${c.deep}" stroke-width="5"/>` +
      `<rect x="12" y="30" width="76" height="54" rx="12" fill="${c.base}"/><rect x="12" y="30" width="76" height="54" rx="12" fill="${c.fill}"/>` +
      `<rect x="12" y="42" width="76" height="4" fill="${c.deep}" opacity=".7"/><rect x="44" y="39" width="12" height="11" rx="3" fill="#fff" opacity=".9"/>`,
    at: [50, 65, 26],
  },
  handbag: {
    draw: (c) =>
      `<path d="M30 46c0-36 40-36 40 0" fill="none" stroke="${c.deep}" stroke-width="5"/>` +
      `<path d="M14 48c0-6 6-8 10-8h52c4 0 10 2 10 8l3 32c0 6-4 10-10 10H21c-6 0-10-4-10-10z" fill="${c.base}"/><path d="M14 48c0-6 6-8 10-8h52c4 0 10 2 10 8l3 32c0 6-4 10-10 10H21c-6 0-10-4-10-10z" fill="${c.fill}"/>` +
      shade("M14 47c10 14 62 14 72 0l1 10c-14 12-60 12-74 0z") + `<circle cx="50" cy="58" r="5" fill="#f5d565"/>`,
    at: [50, 74, 20],
  },
  purse: {
    draw: (c) =>
      `<path d="M14 46c0-8 8-10 36-10s36 2 36 10l3 28c0 10-10 14-39 14s-39-4-39-14z" fill="${c.base}"/><path d="M14 46c0-8 8-10 36-10s36 2 36 10l3 28c0 10-10 14-39 14s-39-4-39-14z" fill="${c.fill}"/>` +
      `<path d="M14 44c0-8 10-11 36-11s36 3 36 11" fill="none" stroke="#d9b44a" stroke-width="5"/><circle cx="45" cy="30" r="5" fill="#f0cf66"/><circle cx="55" cy="30" r="5" fill="#d9b44a"/>`,
    at: [50, 66, 24],
  },
  washbag: {
    draw: (c) =>
      `<path d="M12 40h76v38c0 6-4 10-10 10H22c-6 0-10-4-10-10z" fill="${c.base}"/><path d="M12 40h76v38c0 6-4 10-10 10H22c-6 0-10-4-10-10z" fill="${c.fill}"/><rect x="10" y="34" width="80" height="9" rx="4" fill="${c.deep}"/>` +
      `<rect x="74" y="36" width="16" height="5" rx="2" fill="#f0cf66"/>` + gloss("M18 48h7v34h-7z"),
    at: [50, 66, 24],
  },
  mug: {
    draw: (c) =>
      `<path d="M68 40h9c16 0 16 32-4 32h-7" fill="none" stroke="${c.deep}" stroke-width="7"/>` +
      `<path d="M18 28h54v50c0 6-4 11-11 11H29c-7 0-11-5-11-11z" fill="${c.base}"/><path d="M18 28h54v50c0 6-4 11-11 11H29c-7 0-11-5-11-11z" fill="${c.fill}"/>` +
      `<ellipse cx="45" cy="28" rx="27" ry="6" fill="${c.pale}"/><ellipse cx="45" cy="29" rx="22" ry="4" fill="#6f4a35"/>` + gloss("M24 38h6v44h-6z"),
    at: [46, 60, 26],
  },
  teacup: {
    draw: (c) =>
      `<ellipse cx="48" cy="84" rx="42" ry="9" fill="${c.deep}"/><ellipse cx="48" cy="82" rx="42" ry="9" fill="${c.pale}"/><ellipse cx="48" cy="82" rx="30" ry="5" fill="${c.deep}" opacity=".35"/>` +
      `<path d="M72 46h6c14 0 10 24-10 22" fill="none" stroke="${c.deep}" stroke-width="5"/>` +
      `<path d="M16 38h62c0 26-10 42-31 42S16 64 16 38z" fill="${c.base}"/><path d="M16 38h62c0 26-10 42-31 42S16 64 16 38z" fill="${c.fill}"/>` +
      `<ellipse cx="47" cy="38" rx="31" ry="7" fill="${c.pale}"/><ellipse cx="47" cy="39" rx="25" ry="4.500" fill="#a8653b"/>`,
    at: [47, 60, 22],
  },
  glass: {
    draw: (c) =>
      `<path d="M26 18h48l-7 66c0 4-3 6-7 6H40c-4 0-7-2-7-6z" fill="${c.pale}" opacity=".75"/><path d="M29 46h42l-4 38c0 4-3 6-7 6H40c-4 0-7-2-7-6z" fill="${c.base}" opacity=".8"/>` +
      `<ellipse cx="50" cy="18" rx="24" ry="5" fill="#fff" opacity=".7"/>` + gloss("M36 26h6l4 56h-6z"),
  },
  jug: {
    draw: (c) =>
      `<path d="M66 42c20-6 22 32 0 32" fill="none" stroke="${c.deep}" stroke-width="6"/><path d="M22 22h44l-3 12c8 10 10 22 8 36-1 12-8 20-20 20H41c-12 0-20-8-20-22 0-12 4-24 9-34l-12-8z" fill="${c.base}"/><path d="M30 34h33c8 10 10 22 8 36-1 12-8 20-20 20H41c-12 0-20-8-20-22 0-12 4-24 9-34z" fill="${c.fill}"/>` +
      shade("M27 30h37l-1 5H28z") + gloss("M30 48h6c-3 12-2 24 2 36h-6c-5-10-5-26-2-36z"),
    at: [46, 64, 24],
  },
  bowl: {
    draw: (c) =>
      `<path d="M8 44h84c0 28-16 44-42 44S8 72 8 44z" fill="${c.base}"/><path d="M8 44h84c0 28-16 44-42 44S8 72 8 44z" fill="${c.fill}"/><ellipse cx="50" cy="44" rx="42" ry="10" fill="${c.deep}"/><ellipse cx="50" cy="44" rx="37" ry="7" fill="${c.pale}"/>` +
      `<path d="M36 88h28v4H36z" fill="${c.deep}"/>`,
    at: [50, 68, 22],
  },
  plate: {
    draw: (c) =>
      `<circle cx="50" cy="52" r="42" fill="${c.base}"/><circle cx="50" cy="52" r="42" fill="${c.fill}"/><circle cx="50" cy="52" r="29" fill="#fff" opacity=".85"/><circle cx="50" cy="52" r="29" fill="${c.pale}" opacity=".5"/><circle cx="50" cy="52" r="42" fill="none" stroke="${c.deep}" stroke-width="2"/>`,
    at: [50, 52, 32],
  },
  tin: {
    draw: (c) =>
      `<path d="M18 30h64v52c0 6-14 10-32 10s-32-4-32-10z" fill="${c.base}"/><path d="M18 30h64v52c0 6-14 10-32 10s-32-4-32-10z" fill="${c.fill}"/><path d="M15 24h70v12c0 5-16 8-35 8s-35-3-35-8z" fill="${c.deep}"/><ellipse cx="50" cy="24" rx="35" ry="8" fill="${c.pale}"/><ellipse cx="50" cy="23" rx="6" ry="2" fill="${c.deep}"/>` +
      `<rect x="32" y="54" width="36" height="22" rx="4" fill="#fff" opacity=".9"/>`,
    at: [50, 65, 20],
  },
  jar: {
    draw: (c) =>
      `<path d="M26 32h48c8 6 8 12 8 18v32c0 6-4 9-10 9H28c-6 0-10-3-10-9V50c0-6 0-12 8-18z" fill="${c.pale}" opacity=".8"/><path d="M18 56h64v26c0 6-4 9-10 9H28c-6 0-10-3-10-9z" fill="${c.base}" opacity=".85"/><rect x="24" y="18" width="52" height="15" rx="4" fill="${c.deep}"/><rect x="24" y="18" width="52" height="15" rx="4" fill="${c.fill}" opacity=".6"/><rect x="32" y="56" width="36" height="22" rx="3" fill="#fff" opacity=".92"/>` + gloss("M24 46h5v38h-5z"),
    at: [50, 67, 18],
  },
  tlight: {
    draw: (c) =>
      `<path d="M24 44h52l-5 40c-1 5-4 7-9 7H38c-5 0-8-2-9-7z" fill="${c.base}" opacity=".9"/><path d="M24 44h52l-5 40c-1 5-4 7-9 7H38c-5 0-8-2-9-7z" fill="${c.fill}" opacity=".55"/><ellipse cx="50" cy="44" rx="26" ry="6" fill="${c.pale}"/><ellipse cx="50" cy="45" rx="17" ry="3.500" fill="#fff6df"/>` +
      `<circle cx="50" cy="38" r="24" fill="#ffd88a" opacity=".3"/>` + flame(50, 43, 1.7) + gloss("M32 54h6l3 32h-6z"),
    at: [50, 70, 20],
  },
  hangingLight: {
    draw: (c) =>
      `<path d="M50 6v12M50 18 26 46M50 18l24 28" fill="none" stroke="${c.deep}" stroke-width="2.500"/><path d="M50 90C20 72 16 56 26 46c8-7 19-4 24 5 5-9 16-12 24-5 10 10 6 26-24 44z" fill="${c.base}"/><path d="M50 90C20 72 16 56 26 46c8-7 19-4 24 5 5-9 16-12 24-5 10 10 6 26-24 44z" fill="${c.fill}" opacity=".6"/><circle cx="50" cy="60" r="15" fill="#fff2cf" opacity=".9"/><circle cx="50" cy="60" r="20" fill="#ffd88a" opacity=".35"/>` + flame(50, 67, 1.1),
  },
  candlestick: {
    draw: (c) =>
      `<rect x="42" y="24" width="16" height="34" rx="2" fill="#fbf3e0"/>` + flame(50, 23, 1.3) + `<path d="M34 56h32c0 7-8 9-11 10 0 9 7 15 15 20v4H30v-4c8-5 15-11 15-20-3-1-11-3-11-10z" fill="${c.base}"/><path d="M34 56h32c0 3-1 5-3 6H37c-2-1-3-3-3-6z" fill="${c.pale}"/>` + gloss("M44 26h4v30h-4z"),
  },
  pillar: {
    draw: (c) =>
      `<path d="M28 34h44v52c0 4-10 6-22 6s-22-2-22-6z" fill="${c.base}"/><path d="M28 34h44v52c0 4-10 6-22 6s-22-2-22-6z" fill="${c.fill}" opacity=".7"/><ellipse cx="50" cy="34" rx="22" ry="6" fill="${c.pale}"/><circle cx="50" cy="24" r="18" fill="#ffd88a" opacity=".35"/><path d="M50 34v-6" stroke="#5b4636" stroke-width="2"/>` + flame(50, 30, 1.5) + gloss("M34 44h6v42h-6z"),
    at: [50, 66, 22],
  },
  lantern: {
    draw: (c) =>
      `<path d="M38 20c0-14 24-14 24 0" fill="none" stroke="${c.deep}" stroke-width="4"/><path d="M50 16 26 34h48z" fill="${c.deep}"/><rect x="26" y="34" width="48" height="50" fill="#fff4d6"/><circle cx="50" cy="60" r="18" fill="#ffd88a" opacity=".6"/><rect x="44" y="64" width="12" height="20" fill="#fffaf0"/>` + flame(50, 63, 1.2) + `<path d="M26 34h5v50h-5zM69 34h5v50h-5zM22 84h56v7H22zM48.500 34h3v18h-3z" fill="${c.base}"/>`,
  },
  lamp: {
    draw: (c) =>
      `<path d="M47 52h6v32h-6z" fill="${c.deep}"/><ellipse cx="50" cy="87" rx="20" ry="5" fill="${c.deep}"/><path d="M32 14h36l16 42H16z" fill="${c.base}"/><path d="M32 14h36l16 42H16z" fill="${c.fill}"/><path d="M16 56h68v4H16z" fill="${c.pale}"/><circle cx="50" cy="62" r="22" fill="#ffe3a0" opacity=".25"/>` + gloss("M36 18h8l-8 36h-10z"),
    at: [50, 38, 20],
  },
  stringLights: {
    draw: (c) =>
      `<path d="M4 24c20 26 40 26 46 8s30-14 46 14" fill="none" stroke="#4d5a4b" stroke-width="3"/>` +
      [[14, 36], [30, 45], [46, 38], [60, 26], [78, 30], [92, 44]].map(([x, y], i) => `<circle cx="${x}" cy="${y + 9}" r="13" fill="#ffe3a0" opacity=".35"/><path d="M${x} ${y}c8 5 8 18 0 20-8-2-8-15 0-20z" fill="${i % 2 ? c.base : c.pale}"/>`).join(""),
  },
  wallclock: {
    draw: (c) =>
      `<circle cx="50" cy="50" r="42" fill="${c.base}"/><circle cx="50" cy="50" r="42" fill="${c.fill}"/><circle cx="50" cy="50" r="31" fill="#fffdf7"/>` +
      [0, 30, 60, 90, 120, 150, 180, 210, 240, 270, 300, 330].map((a) => `<rect x="49" y="22" width="2" height="${a % 90 ? 4 : 7}" fill="${c.ink}" transform="rotate(${a} 50 50)"/>`).join("") +
      `<path d="M50 50V31M50 50l14 8" stroke="${c.ink}" stroke-width="3.500" stroke-linecap="round"/><circle cx="50" cy="50" r="3" fill="${c.deep}"/>`,
  },
  alarmclock: {
    draw: (c) =>
      `<path d="M26 82 18 92M74 82l8 10" stroke="${c.deep}" stroke-width="6" stroke-linecap="round"/><circle cx="26" cy="24" r="13" fill="${c.deep}"/><circle cx="74" cy="24" r="13" fill="${c.deep}"/><path d="M50 8v14" stroke="${c.deep}" stroke-width="5"/><circle cx="50" cy="55" r="36" fill="${c.base}"/><circle cx="50" cy="55" r="27" fill="#fffdf7"/>` +
      [0, 90, 180, 270].map((a) => `<rect x="48.500" y="31" width="3" height="6" fill="${c.ink}" transform="rotate(${a} 50 55)"/>`).join("") +
      `<path d="M50 55V39M50 55l11 5" stroke="${c.ink}" stroke-width="3.500" stroke-linecap="round"/>` + gloss("M26 36c6-10 16-14 26-14-8 4-16 10-19 20z"),
  },
  frame: {
    draw: (c) =>
      `<rect x="16" y="10" width="68" height="80" rx="3" fill="${c.base}"/><rect x="16" y="10" width="68" height="80" rx="3" fill="${c.fill}"/><rect x="20" y="14" width="60" height="72" fill="none" stroke="${c.deep}" stroke-width="1.500" opacity=".6"/><rect x="27" y="21" width="46" height="58" fill="#fffdf7"/><path d="M31 25h38v50H31z" fill="#cfe5ee"/><path d="m31 66 14-18 11 13 6-6 7 9v11H31z" fill="#8db596"/><circle cx="60" cy="37" r="5" fill="#ffd166"/>`,
  },
  mirror: {
    draw: (c) =>
      `<ellipse cx="50" cy="50" rx="34" ry="42" fill="${c.base}"/><ellipse cx="50" cy="50" rx="34" ry="42" fill="${c.fill}" opacity=".7"/><ellipse cx="50" cy="50" rx="26" ry="34" fill="#e4f1f7"/><path d="M34 44c3-14 10-21 20-24L36 66c-3-7-4-14-2-22zM44 78l22-48c4 5 6 11 7 18L54 82c-4 0-7-1-10-4z" fill="#fff" opacity=".75"/><path d="M50 2c6 0 9 6 4 9h-8c-5-3-2-9 4-9z" fill="${c.deep}"/>`,
  },
  sign: {
    draw: (c) =>
      `<path d="M50 8 24 32M50 8l26 24" stroke="${c.deep}" stroke-width="2"/><circle cx="50" cy="8" r="3" fill="${c.deep}"/><rect x="10" y="30" width="80" height="54" rx="4" fill="${c.base}"/><rect x="10" y="30" width="80" height="54" rx="4" fill="${c.fill}" opacity=".5"/><rect x="15" y="35" width="70" height="44" rx="2" fill="none" stroke="#fff" stroke-width="2" opacity=".85"/><path d="M26 48h48M32 58h36M38 68h24" stroke="#fff" stroke-width="4.500" stroke-linecap="round" opacity=".92"/>`,
  },
  chalkboard: {
    draw: (c) =>
      `<path d="M30 16c0-10 40-10 40 0" fill="none" stroke="#b98b5a" stroke-width="3"/><path d="M50 88C14 66 10 46 22 33c9-9 23-6 28 5 5-11 19-14 28-5 12 13 8 33-28 55z" fill="#3f474d"/><path d="M30 50c10-5 18 6 28 1s10-6 14-4M36 62c8-3 14 4 24 0" fill="none" stroke="#fff" stroke-width="2.500" opacity=".75" stroke-linecap="round"/><circle cx="50" cy="24" r="3" fill="${c.pale}"/>`,
  },
  blocks: {
    draw: (c) =>
      [[6, c.base], [36, c.deep], [66, c.base]].map(([x, f], i) => `<rect x="${x}" y="36" width="28" height="40" rx="3" fill="${f}"/><rect x="${x}" y="36" width="28" height="40" rx="3" fill="#fff" opacity=".12"/>` + [`<path d="M${+x + 9} 46v20M${+x + 19} 46v20M${+x + 9} 56h10" stroke="#fff" stroke-width="4.500" stroke-linecap="round"/>`, `<circle cx="${+x + 14}" cy="56" r="8" fill="none" stroke="#fff" stroke-width="4.500"/>`, `<path d="M${+x + 7} 66V46l7 12 7-12v20" fill="none" stroke="#fff" stroke-width="4" stroke-linejoin="round" stroke-linecap="round"/>`][i]).join(""),
  },
  cushion: {
    draw: (c) => {
      const d = "M16 16c22 6 46 6 68 0 4-1 6 1 5 5-6 20-6 38 0 58 1 4-1 6-5 5-22-6-46-6-68 0-4 1-6-1-5-5 6-20 6-38 0-58-1-4 1-6 5-5z";
      return `<path d="${d}" fill="${c.base}"/><path d="${d}" fill="${c.fill}"/><path d="${d}" fill="none" stroke="${c.deep}" stroke-width="2.500" stroke-dasharray="4 3"/>` + gloss("M22 26c14 4 26 4 38 3-14 4-26 10-36 24-1-9-1-18-2-27z");
    },
    at: [50, 50, 34],
    lean: 6,
  },
  doormat: {
    draw: (c) =>
      `<path d="M16 30h68l12 46H4z" fill="${c.base}"/><path d="M16 30h68l12 46H4z" fill="${c.fill}"/><path d="M21 36h58l8 34H13z" fill="none" stroke="${c.pale}" stroke-width="2.500"/><path d="M4 76h92v5H4z" fill="${c.deep}"/><path d="M30 52h40" stroke="#fff" stroke-width="5" stroke-linecap="round" opacity=".85"/><path d="M36 62h28" stroke="#fff" stroke-width="4" stroke-linecap="round" opacity=".7"/>`,
  },
  hook: {
    draw: (c) =>
      `<rect x="8" y="26" width="84" height="24" rx="4" fill="${c.base}"/><rect x="8" y="26" width="84" height="24" rx="4" fill="${c.fill}" opacity=".6"/><rect x="11" y="29" width="78" height="18" rx="2" fill="none" stroke="${c.deep}" opacity=".5"/>` +
      [26, 50, 74].map((x) => `<path d="M${x} 38v26c0 14-14 14-14 2" fill="none" stroke="#6b6f76" stroke-width="5" stroke-linecap="round"/><circle cx="${x}" cy="38" r="5" fill="#85898f"/>`).join(""),
  },
  knob: {
    draw: (c) =>
      `<circle cx="50" cy="52" r="36" fill="${c.deep}"/><circle cx="50" cy="49" r="36" fill="${c.base}"/><circle cx="50" cy="49" r="36" fill="${c.fill}"/><circle cx="50" cy="49" r="27" fill="none" stroke="#fff" stroke-width="2" opacity=".45"/><circle cx="50" cy="49" r="7" fill="${c.pale}"/><circle cx="50" cy="49" r="3" fill="${c.deep}"/>` + gloss("M24 42c4-14 16-22 30-20-12 4-20 10-24 24z"),
  },
  cabinet: {
    draw: (c) =>
      `<rect x="16" y="14" width="68" height="70" rx="3" fill="${c.base}"/><rect x="16" y="14" width="68" height="70" rx="3" fill="${c.fill}" opacity=".5"/><path d="M12 10h76v7H12z" fill="${c.deep}"/><path d="M20 84h8v8h-8zM72 84h8v8h-8z" fill="${c.deep}"/>` +
      [22, 43, 64].map((y) => `<rect x="22" y="${y}" width="56" height="17" rx="2" fill="${c.pale}"/><circle cx="50" cy="${y + 8.5}" r="3" fill="${c.deep}"/>`).join(""),
  },
  box: {
    draw: (c) =>
      `<rect x="16" y="42" width="68" height="46" rx="3" fill="${c.base}"/><rect x="16" y="42" width="68" height="46" rx="3" fill="${c.fill}"/><rect x="11" y="28" width="78" height="17" rx="3" fill="${c.deep}"/><rect x="11" y="28" width="78" height="5" rx="2.500" fill="#fff" opacity=".25"/><rect x="38" y="58" width="24" height="13" rx="2" fill="#fffdf7" stroke="${c.deep}" stroke-width="1.500"/>`,
  },
  trinket: {
    draw: (c) =>
      `<path d="M14 56h72v24c0 7-8 11-36 11s-36-4-36-11z" fill="${c.base}"/><path d="M14 56h72v24c0 7-8 11-36 11s-36-4-36-11z" fill="${c.fill}"/><path d="M12 54c0-20 16-28 38-28s38 8 38 28c0 6-76 6-76 0z" fill="${c.deep}"/><circle cx="50" cy="22" r="7" fill="${c.pale}"/>` + gloss("M24 46c3-8 10-13 19-15-6 5-9 10-11 17z"),
    at: [50, 74, 18],
  },
  basket: {
    draw: (c) =>
      `<path d="M22 46c0-44 56-44 56 0" fill="none" stroke="#a8743f" stroke-width="5"/><path d="M10 44h80l-9 42c-1 4-4 6-8 6H27c-4 0-7-2-8-6z" fill="#c89257"/><path d="M12 54h76M14 66h72M17 78h66M28 46l4 44M44 46l2 45M58 46l-2 45M72 46l-4 44" stroke="#a8743f" stroke-width="2.500"/><rect x="7" y="40" width="86" height="9" rx="4.500" fill="${c.base}"/>`,
  },
  bunting: {
    draw: (c) =>
      `<path d="M2 26c30 22 66 22 96 0" fill="none" stroke="${c.deep}" stroke-width="2.500"/>` + pennant(14, 32, c.base) + pennant(32, 39, "#fff7ea") + pennant(50, 42, c.base) + pennant(50, 42, c.fill) + pennant(68, 39, c.pale) + pennant(86, 32, c.deep) +
      `<path d="M2 60c30 18 66 18 96 0" fill="none" stroke="${c.deep}" stroke-width="2"/>` + pennant(22, 68, c.pale) + pennant(41, 72, c.base) + pennant(60, 72, "#fff7ea") + pennant(79, 68, c.base),
  },
  garland: {
    draw: (c) =>
      `<path d="M4 20c20 40 72 40 92 0" fill="none" stroke="${c.deep}" stroke-width="2.500"/>` +
      [[12, 34], [28, 47], [50, 52], [72, 47], [88, 34]].map(([x, y], i) => `<path d="M${x} ${y + 22}c-14-9-14-20-7-22 4-1 6 1 7 5 1-4 3-6 7-5 7 2 7 13-7 22z" fill="${[c.base, c.pale, c.deep, c.pale, c.base][i]}"/>`).join(""),
  },
  cakecases: {
    draw: (c) =>
      `<path d="M20 46c-6-10 4-20 14-18 4-14 28-14 32 0 10-2 20 8 14 18z" fill="#f3c6a0"/><path d="M34 34c6-6 12 4 18-2s10-2 14 4" fill="none" stroke="#fff" stroke-width="5" stroke-linecap="round"/><circle cx="50" cy="18" r="6" fill="#e5484d"/><path d="M16 46h68l-9 42c-1 3-3 4-6 4H31c-3 0-5-1-6-4z" fill="${c.base}"/><path d="M16 46h68l-9 42c-1 3-3 4-6 4H31c-3 0-5-1-6-4z" fill="${c.fill}"/><path d="M28 46l5 46M42 46l2 46M58 46l-2 46M72 46l-5 46" stroke="${c.deep}" stroke-width="1.500" opacity=".55"/>`,
  },
  cakestand: {
    draw: (c) =>
      `<path d="M47 14h6v74h-6z" fill="${c.deep}"/><path d="M30 92h40c0-6-8-8-20-8s-20 2-20 8z" fill="${c.deep}"/>` +
      [[34, 16, 28], [58, 26, 54], [82, 38, 78]].map(([y, rx]) => `<ellipse cx="50" cy="${y}" rx="${rx}" ry="${rx / 6 + 1.5}" fill="${c.deep}"/><ellipse cx="50" cy="${y - 2}" rx="${rx}" ry="${rx / 6 + 1.5}" fill="${c.base}"/><ellipse cx="50" cy="${y - 2}" rx="${rx - 3}" ry="${rx / 6}" fill="${c.pale}"/>`).join("") +
      `<circle cx="50" cy="11" r="6" fill="none" stroke="${c.deep}" stroke-width="3"/><path d="M32 54c-3-7 13-9 12 0zM58 54c-1-9 14-7 12 0z" fill="#f3a6b0"/><path d="M22 78c-3-8 14-10 13 0zM64 78c-1-10 15-8 14 0z" fill="#e8b07a"/>`,
  },
  mould: {
    draw: (c) =>
      `<path d="M50 90C14 68 8 46 20 32c10-11 25-8 30 5 5-13 20-16 30-5 12 14 6 36-30 58z" fill="${c.base}"/><path d="M50 80C24 63 19 48 27 39c7-8 18-5 23 8 5-13 16-16 23-8 8 9 3 24-23 41z" fill="${c.deep}"/><path d="M50 70C33 58 30 49 35 44c5-5 12-3 15 7 3-10 10-12 15-7 5 5 2 14-15 26z" fill="${c.pale}"/>`,
  },
  scales: {
    draw: (c) =>
      `<path d="M18 26h64l-6 14H24z" fill="${c.deep}"/><ellipse cx="50" cy="25" rx="34" ry="6" fill="${c.pale}"/><path d="M26 42h48l10 42c1 4-1 7-5 7H21c-4 0-6-3-5-7z" fill="${c.base}"/><path d="M26 42h48l10 42c1 4-1 7-5 7H21c-4 0-6-3-5-7z" fill="${c.fill}" opacity=".4"/><circle cx="50" cy="66" r="18" fill="#fffdf7"/><path d="M50 66 58 54" stroke="#d1453b" stroke-width="3" stroke-linecap="round"/><circle cx="50" cy="66" r="3" fill="${c.ink}"/>`,
  },
  apron: {
    draw: (c) =>
      `<path d="M36 30C32 8 68 8 64 30" fill="none" stroke="${c.deep}" stroke-width="4"/><path d="M8 52c8 2 14 0 20-4M92 52c-8 2-14 0-20-4" fill="none" stroke="${c.deep}" stroke-width="4"/><path d="M34 26h32c0 14 6 22 14 24v36c0 4-2 6-6 6H26c-4 0-6-2-6-6V50c8-2 14-10 14-24z" fill="${c.base}"/><path d="M34 26h32c0 14 6 22 14 24v36c0 4-2 6-6 6H26c-4 0-6-2-6-6V50c8-2 14-10 14-24z" fill="${c.fill}"/><path d="M32 62h36v12c0 5-8 8-18 8s-18-3-18-8z" fill="${c.deep}" opacity=".55"/>`,
    at: [50, 46, 20],
  },
  towel: {
    draw: (c) =>
      `<path d="M18 14h64v72H18z" fill="${c.pale}"/><path d="M18 14h64v72H18z" fill="${c.fill}" opacity=".55"/><path d="M18 66h64v5H18zM18 75h64v3H18z" fill="${c.base}"/><path d="M18 86h64v4H18z" fill="#fff" opacity=".7"/><path d="M18 86v6M26 86v6M34 86v6M42 86v6M50 86v6M58 86v6M66 86v6M74 86v6M82 86v6" stroke="${c.base}" stroke-width="2"/>` + shade("M46 14h6v72h-6z"),
    at: [50, 40, 30],
  },
  napkin: {
    draw: (c) =>
      `<path d="M14 22h60v60H14z" fill="${c.deep}"/><path d="M20 18h60v60H20z" fill="${c.pale}"/><path d="M26 14h60v60H26z" fill="${c.base}"/><path d="M26 14h60v60H26z" fill="${c.fill}"/><path d="M56 14v60M26 44h60" stroke="#fff" stroke-width="1.500" opacity=".6"/>`,
    at: [56, 44, 30],
    lean: -4,
  },
  doily: {
    draw: (c) =>
      Array.from({ length: 16 }, (_, i) => `<circle cx="50" cy="14" r="9" fill="${c.pale}" transform="rotate(${i * 22.5} 50 52)"/>`).join("") + `<circle cx="50" cy="52" r="36" fill="${c.pale}"/>` + Array.from({ length: 16 }, (_, i) => `<circle cx="50" cy="24" r="3" fill="${c.deep}" opacity=".45" transform="rotate(${i * 22.5} 50 52)"/>`).join("") + `<circle cx="50" cy="52" r="20" fill="${c.base}" opacity=".5"/>`,
    at: [50, 52, 24],
  },
  papercup: {
    draw: (c) =>
      `<path d="M24 20h52l-8 68c0 2-2 4-4 4H36c-2 0-4-2-4-4z" fill="${c.base}"/><path d="M24 20h52l-8 68c0 2-2 4-4 4H36c-2 0-4-2-4-4z" fill="${c.fill}"/><rect x="20" y="15" width="60" height="8" rx="4" fill="#fff"/><path d="M58 17 66 0l5 2-7 15z" fill="${c.deep}"/>` + gloss("M33 28h6l4 60h-5z"),
    at: [50, 56, 24],
  },
  card: {
    draw: (c) =>
      `<path d="M20 16h54l6 72H14z" fill="#efe7da"/><rect x="20" y="12" width="60" height="76" rx="2" fill="#fffdf8"/><rect x="25" y="17" width="50" height="66" fill="${c.base}" opacity=".9"/><rect x="25" y="17" width="50" height="66" fill="${c.fill}"/><path d="M34 72h32" stroke="#fff" stroke-width="4" stroke-linecap="round"/>`,
    at: [50, 44, 30],
    lean: -5,
  },
  wrap: {
    draw: (c) =>
      `<path d="M20 26 66 12l18 62-46 14z" fill="${c.base}"/><path d="M20 26 66 12l18 62-46 14z" fill="${c.fill}"/><ellipse cx="29" cy="57" rx="9" ry="32" transform="rotate(-16 29 57)" fill="${c.deep}"/><ellipse cx="29" cy="57" rx="5" ry="26" transform="rotate(-16 29 57)" fill="#fff" opacity=".5"/>`,
    at: [58, 46, 26],
  },
  giftbag: {
    draw: (c) =>
      `<path d="M36 30V20c0-14 28-14 28 0v10" fill="none" stroke="${c.deep}" stroke-width="3.500"/><path d="M20 30h60v62H20z" fill="${c.base}"/><path d="M20 30h60v62H20z" fill="${c.fill}"/><path d="m20 30 6-8 6 8 6-8 6 8 6-8 6 8 6-8 6 8 6-8 6 8z" fill="#fff" opacity=".8"/>` + shade("M68 30h12v62H68z"),
    at: [46, 62, 28],
  },
  notebook: {
    draw: (c) =>
      `<rect x="20" y="10" width="62" height="80" rx="4" fill="${c.base}"/><rect x="20" y="10" width="62" height="80" rx="4" fill="${c.fill}"/><rect x="20" y="10" width="11" height="80" rx="4" fill="${c.deep}"/><rect x="74" y="10" width="4" height="80" fill="${c.deep}" opacity=".8"/><rect x="38" y="24" width="30" height="20" rx="2" fill="#fffdf7"/><path d="M43 31h20M43 37h14" stroke="${c.deep}" stroke-width="2"/>`,
    at: [54, 64, 24],
    lean: 4,
  },
  pencils: {
    draw: (c) =>
      [[18, "#e5484d"], [32, "#f5b83d"], [46, "#58a55c"], [60, "#3f83c8"], [74, "#8e5bb5"]].map(([x, f], i) => `<path d="M${x} ${26 - (i % 2) * 5}l6-14 6 14v40h-12z" fill="${f}"/><path d="M${x} ${26 - (i % 2) * 5}l6-14 6 14z" fill="#f2d3a7"/><path d="M${+x + 4.2} ${16 - (i % 2) * 5}l1.800-4 1.800 4z" fill="${f}"/>`).join("") +
      `<rect x="12" y="46" width="76" height="44" rx="5" fill="${c.base}"/><rect x="12" y="46" width="76" height="44" rx="5" fill="${c.fill}"/>`,
    at: [50, 68, 26],
  },
  pen: {
    draw: (c) =>
      `<g transform="rotate(38 50 50)"><rect x="43" y="6" width="14" height="66" rx="4" fill="${c.base}"/><rect x="43" y="6" width="14" height="66" rx="4" fill="${c.fill}"/><path d="M43 72h14l-7 22z" fill="#c9ccd1"/><rect x="55" y="10" width="5" height="30" rx="2.500" fill="#d9b44a"/><path d="M43 66h14v6H43z" fill="#d9b44a"/></g>`,
  },
  stickers: {
    draw: (c) =>
      `<rect x="16" y="8" width="68" height="84" rx="5" fill="#fffdf8"/><rect x="16" y="8" width="68" height="84" rx="5" fill="${c.pale}" opacity=".5"/><circle cx="34" cy="28" r="12" fill="${c.base}"/><path d="m66 15 4 9 10 1-7 7 2 10-9-5-9 5 2-10-7-7 10-1z" fill="#f5b83d"/><path d="M34 82c-15-10-14-22-7-24 4-1 6 2 7 5 1-3 3-6 7-5 7 2 8 14-7 24z" fill="${c.deep}"/><rect x="55" y="56" width="22" height="22" rx="6" fill="${c.base}"/><circle cx="66" cy="67" r="5" fill="#fff" opacity=".8"/>`,
  },
  tape: {
    draw: (c) =>
      `<circle cx="46" cy="50" r="36" fill="${c.base}"/><circle cx="46" cy="50" r="36" fill="${c.fill}"/><circle cx="46" cy="50" r="19" fill="#f2e4cf"/><circle cx="46" cy="50" r="14" fill="#fff" opacity=".85"/><path d="M46 86h46v-9l-4-3 4-3v-8H70z" fill="${c.base}"/>`,
  },
  necklace: {
    draw: (c) =>
      `<path d="M18 10c-4 40 16 58 32 58s36-18 32-58" fill="none" stroke="${c.deep}" stroke-width="2"/>` +
      [[17, 22], [19, 36], [25, 49], [34, 60], [66, 60], [75, 49], [81, 36], [83, 22]].map(([x, y], i) => `<circle cx="${x}" cy="${y}" r="${i % 2 ? 5 : 4}" fill="${i % 2 ? c.base : c.pale}"/>`).join("") +
      `<path d="m50 62 11 13-11 17-11-17z" fill="${c.base}"/><path d="m50 62 11 13H39z" fill="${c.pale}"/><path d="m50 75v17L39 75z" fill="${c.deep}" opacity=".55"/>`,
  },
  earrings: {
    draw: (c) =>
      [28, 72].map((x) => `<path d="M${x} 24c0-14 14-14 14-2" fill="none" stroke="#c7a24a" stroke-width="3"/><circle cx="${x}" cy="30" r="6" fill="${c.pale}"/><path d="M${x} 36v8" stroke="#c7a24a" stroke-width="2.500"/><path d="M${x} 44c16 18 14 44 0 44s-16-26 0-44z" fill="${c.base}"/><path d="M${x - 4} 58c-4 8-4 16-1 21" fill="none" stroke="#fff" stroke-width="3" opacity=".6" stroke-linecap="round"/>`).join(""),
  },
  bracelet: {
    draw: (c) =>
      Array.from({ length: 16 }, (_, i) => `<circle cx="50" cy="16" r="${i % 2 ? 7.5 : 6}" fill="${[c.base, c.pale, c.deep, c.pale][i % 4]}" transform="rotate(${i * 22.5} 50 52) "/>`).join("") + `<circle cx="50" cy="88" r="9" fill="${c.base}"/><circle cx="47" cy="85" r="3" fill="#fff" opacity=".7"/>`,
  },
  hair: {
    draw: (c) =>
      `<path d="M14 40c0-16 72-16 72 0v8H14z" fill="${c.deep}"/>` + [18, 27, 36, 45, 54, 63, 72, 81].map((x) => `<path d="M${x - 2} 46h5v36c0 4-5 4-5 0z" fill="${c.base}"/>`).join("") + [30, 50, 70].map((x, i) => `<g transform="translate(${x} ${i === 1 ? 32 : 36})">${[0, 72, 144, 216, 288].map((a) => `<circle cx="0" cy="-7" r="5" fill="${c.pale}" transform="rotate(${a})"/>`).join("")}<circle r="4" fill="#f5b83d"/></g>`).join(""),
  },
  hotwater: {
    draw: (c) =>
      `<rect x="41" y="4" width="18" height="10" rx="3" fill="${c.deep}"/><path d="M43 12h14v10c20 2 26 12 26 30v22c0 12-6 18-16 18H33c-10 0-16-6-16-18V52c0-18 6-28 26-30z" fill="${c.base}"/><path d="M43 12h14v10c20 2 26 12 26 30v22c0 12-6 18-16 18H33c-10 0-16-6-16-18V52c0-18 6-28 26-30z" fill="${c.fill}"/><path d="M40 22h20v7H40z" fill="${c.pale}"/><path d="M27 44c2-7 6-9 11-10" stroke="#fff" stroke-width="4" fill="none" opacity=".5" stroke-linecap="round"/>`,
    at: [50, 60, 32],
    lean: 4,
  },
  tissues: {
    draw: (c) =>
      `<path d="M36 44c-2-14 4-24 0-34 12 8 22 0 30 8-4 8-2 16-2 26z" fill="#fff"/><path d="M44 40c-1-10 4-16 2-22" stroke="#d9dde2" stroke-width="2" fill="none"/><rect x="10" y="40" width="80" height="48" rx="5" fill="${c.base}"/><rect x="10" y="40" width="80" height="48" rx="5" fill="${c.fill}"/><path d="M30 42h40c-4 6-36 6-40 0z" fill="${c.deep}"/>`,
    at: [50, 68, 24],
  },
  umbrella: {
    draw: (c) =>
      `<path d="M50 14v66c0 14-18 14-18 2" fill="none" stroke="#7a5638" stroke-width="4.500" stroke-linecap="round"/><path d="M6 54C6 2 94 2 94 54c-8-8-18-8-22 0-6-8-16-8-22 0-6-8-16-8-22 0-4-8-14-8-22 0z" fill="${c.base}"/><path d="M6 54C6 2 94 2 94 54c-8-8-18-8-22 0-6-8-16-8-22 0-6-8-16-8-22 0-4-8-14-8-22 0z" fill="${c.fill}"/><path d="M50 15c-14 10-20 24-22 39 6-8 16-8 22 0z" fill="#fff" opacity=".22"/><path d="M50 8v8" stroke="#7a5638" stroke-width="4"/>`,
    lean: -8,
  },
  wateringcan: {
    draw: (c) =>
      `<path d="M62 44c30-8 34 34 2 36" fill="none" stroke="${c.deep}" stroke-width="6"/><path d="M30 66 8 34l-6 4 4-14 14 2-6 4 18 24z" fill="${c.deep}"/><path d="M28 42h38l4 44c0 4-2 6-6 6H30c-4 0-6-2-6-6z" fill="${c.base}"/><path d="M28 42h38l4 44c0 4-2 6-6 6H30c-4 0-6-2-6-6z" fill="${c.fill}"/><path d="M34 42c0-16 26-16 26 0" fill="none" stroke="${c.deep}" stroke-width="5"/>`,
    at: [47, 68, 22],
  },
  tools: {
    draw: (c) =>
      `<g transform="rotate(-18 36 50)"><rect x="31" y="50" width="10" height="40" rx="5" fill="${c.base}"/><path d="M26 12c0-6 20-6 20 0v28c0 6-4 10-10 10s-10-4-10-10z" fill="#b9bec6"/><path d="M34 8h4v38h-4z" fill="#8f959e"/></g><g transform="rotate(18 66 50)"><rect x="61" y="50" width="10" height="40" rx="5" fill="${c.deep}"/><path d="M54 12v20c0 10 24 10 24 0V12" fill="none" stroke="#b9bec6" stroke-width="5"/><path d="M66 12v38" stroke="#b9bec6" stroke-width="5"/></g>`,
  },
  birdhouse: {
    draw: (c) =>
      `<rect x="46" y="76" width="8" height="20" fill="#8a6239"/><path d="M22 40h56v38H22z" fill="${c.base}"/><path d="M22 40h56v38H22z" fill="${c.fill}" opacity=".6"/><path d="M50 8 10 42h80z" fill="${c.deep}"/><circle cx="50" cy="56" r="10" fill="#3d2b1f"/><path d="M42 71h16v3H42z" fill="#5b4636"/>`,
  },
  hangingHeart: {
    draw: (c) =>
      `<path d="M50 4v28" stroke="${c.deep}" stroke-width="2.500"/><path d="M50 92C12 70 6 46 18 33c10-10 26-8 32 6 6-14 22-16 32-6 12 13 6 37-32 59z" fill="${c.base}"/><path d="M50 92C12 70 6 46 18 33c10-10 26-8 32 6 6-14 22-16 32-6 12 13 6 37-32 59z" fill="${c.fill}"/><path d="M50 84C20 66 14 48 23 39c8-8 21-5 27 9 6-14 19-17 27-9 9 9 3 27-27 45z" fill="none" stroke="#fff" stroke-width="1.800" stroke-dasharray="4 3" opacity=".8"/>` + gloss("M20 44c2-8 8-12 15-11-7 4-10 10-10 19-3-2-5-5-5-8z"),
  },
  hangingStar: {
    draw: (c) =>
      `<path d="M50 4v16" stroke="${c.deep}" stroke-width="2.500"/><path d="m50 16 11 24 26 3-19 18 5 26-23-13-23 13 5-26-19-18 26-3z" fill="${c.base}"/><path d="m50 16 11 24-11 18zM87 43 68 61 50 58zM73 87l-23-13v-16zM27 87l5-26 18-3zM13 43l26-3 11 18z" fill="${c.deep}" opacity=".5"/>`,
  },
  wreath: {
    draw: (c) =>
      `<circle cx="50" cy="50" r="33" fill="none" stroke="#7d9b6a" stroke-width="16"/>` + Array.from({ length: 12 }, (_, i) => `<path d="M50 6c8 6 8 16 0 22-8-6-8-16 0-22z" fill="${i % 2 ? "#5f8455" : "#8fb07c"}" transform="rotate(${i * 30} 50 50) rotate(28 50 17)"/>`).join("") + [20, 95, 160, 235, 300].map((a) => `<circle cx="50" cy="17" r="5.500" fill="${c.base}" transform="rotate(${a} 50 50)"/>`).join("") + `<path d="M50 84c-14-10-22 2-20 10l18-6zM50 84c14-10 22 2 20 10l-18-6z" fill="${c.deep}"/>`,
  },
  bauble: {
    draw: (c) =>
      `<path d="M50 4c8 0 8 12 0 12s-8-12 0-12" fill="none" stroke="#c7a24a" stroke-width="3"/><rect x="40" y="16" width="20" height="10" rx="2" fill="#d9b44a"/><circle cx="50" cy="58" r="34" fill="${c.base}"/><circle cx="50" cy="58" r="34" fill="${c.fill}"/><path d="M17 52c22 8 44 8 66 0v12c-22 8-44 8-66 0z" fill="${c.deep}" opacity=".55"/>` + gloss("M26 50c2-12 10-20 20-22-8 6-12 12-13 24z"),
  },
  vase: {
    draw: (c) =>
      `<path d="M50 44 38 16M50 44l2-30M50 44l16-24" stroke="#6b9158" stroke-width="3"/>` + [[36, 16], [52, 12], [68, 20]].map(([x, y], i) => `<g transform="translate(${x} ${y})">${[0, 60, 120, 180, 240, 300].map((a) => `<circle cx="0" cy="-6.500" r="5" fill="${i % 2 ? c.pale : c.base}" transform="rotate(${a})"/>`).join("")}<circle r="4.500" fill="#f5b83d"/></g>`).join("") + `<path d="M40 42h20c-2 10 16 18 14 34-1 10-8 16-18 16H44c-10 0-17-6-18-16-2-16 16-24 14-34z" fill="${c.deep}"/><path d="M40 42h20c-2 10 16 18 14 34-1 10-8 16-18 16H44c-10 0-17-6-18-16-2-16 16-24 14-34z" fill="${c.fill}" opacity=".4"/>`,
  },
  incense: {
    draw: (c) =>
      [36, 44, 52, 60].map((x, i) => `<path d="M50 84 ${x + (i - 1.5) * 10} 22" stroke="#8a6239" stroke-width="2.500"/><path d="M${50 + (x + (i - 1.5) * 10 - 50) * .55} 50 ${x + (i - 1.5) * 10} 22" stroke="${c.deep}" stroke-width="4" stroke-linecap="round"/>`).join("") + `<path d="M40 18c-6-6 4-8 0-14M60 16c-6-6 4-8 0-14" fill="none" stroke="#b7bcc4" stroke-width="2" opacity=".8"/><path d="M28 64h44l-5 24c0 3-2 4-5 4H38c-3 0-5-1-5-4z" fill="${c.base}"/><path d="M28 64h44l-5 24c0 3-2 4-5 4H38c-3 0-5-1-5-4z" fill="${c.fill}" opacity=".6"/>`,
  },
  bottle: {
    draw: (c) =>
      `<rect x="42" y="6" width="16" height="12" rx="3" fill="#a8743f"/><path d="M44 16h12v18c14 6 18 14 18 26v22c0 6-4 10-10 10H36c-6 0-10-4-10-10V60c0-12 4-20 18-26z" fill="${c.base}" opacity=".85"/><rect x="32" y="56" width="36" height="24" rx="3" fill="#fffdf7" opacity=".92"/>` + gloss("M32 52c2-6 5-9 9-11v8c-4 3-5 8-5 14h-4z"),
    at: [50, 68, 20],
  },
  tray: {
    draw: (c) =>
      `<rect x="4" y="30" width="92" height="44" rx="8" fill="${c.deep}"/><rect x="9" y="34" width="82" height="36" rx="5" fill="${c.base}"/><rect x="9" y="34" width="82" height="36" rx="5" fill="${c.fill}"/><rect x="1" y="44" width="6" height="16" rx="3" fill="${c.deep}"/><rect x="93" y="44" width="6" height="16" rx="3" fill="${c.deep}"/>`,
    at: [50, 52, 24],
  },
  coaster: {
    draw: (c) =>
      `<rect x="12" y="24" width="60" height="60" rx="6" fill="${c.deep}"/><rect x="20" y="18" width="60" height="60" rx="6" fill="${c.pale}"/><rect x="28" y="12" width="60" height="60" rx="6" fill="${c.base}"/><rect x="28" y="12" width="60" height="60" rx="6" fill="${c.fill}"/><rect x="33" y="17" width="50" height="50" rx="4" fill="none" stroke="#fff" stroke-width="2" opacity=".7"/>`,
    at: [58, 42, 30],
  },
  toybox: {
    draw: (c) =>
      `<circle cx="50" cy="28" r="20" fill="#f5d0a9"/><path d="M30 24c2-18 38-18 40 0-12-6-28-6-40 0z" fill="#7a5638"/><circle cx="43" cy="28" r="2.500" fill="#3d2b1f"/><circle cx="57" cy="28" r="2.500" fill="#3d2b1f"/><path d="M44 36c4 4 8 4 12 0" fill="none" stroke="#c2535a" stroke-width="2.500" stroke-linecap="round"/><path d="M34 48h32l14 42H20z" fill="${c.base}"/><path d="M34 48h32l14 42H20z" fill="${c.fill}"/><path d="M34 50 18 68M66 50l16 18" stroke="#f5d0a9" stroke-width="7" stroke-linecap="round"/>`,
  },
  bank: {
    draw: (c) =>
      `<path d="M26 78h10v12H26zM62 78h10v12H62z" fill="${c.deep}"/><ellipse cx="48" cy="58" rx="36" ry="28" fill="${c.base}"/><ellipse cx="48" cy="58" rx="36" ry="28" fill="${c.fill}"/><path d="M76 48c14-2 18 4 18 10s-4 12-16 10z" fill="${c.deep}"/><path d="M58 36c2-12 12-14 16-12 0 8-2 14-8 18z" fill="${c.deep}"/><rect x="36" y="33" width="20" height="4" rx="2" fill="${c.ink}"/><circle cx="70" cy="52" r="3" fill="${c.ink}"/><circle cx="46" cy="16" r="10" fill="#f5b83d"/><circle cx="46" cy="16" r="6" fill="none" stroke="#d9932a" stroke-width="2"/>`,
  },
};
