// @ts-check
/** A shelf: a slate on the screen, each product with its reason, kept no older than the visitor's last action. */
import { recommend } from "./api.js";
import { BackGlyph, OnGlyph } from "./glyphs.js";
import { html, useEffect, useLayoutEffect, useRef, useState } from "./html.js";
import { Picture } from "./photo.js";
import { followed, go, toItem } from "./router.js";
import { act, announcement, context, ensure, items, moment, noteAnswered, noteDrawn, revision, settled, visitor } from "./store.js";
import { around, has, money, t } from "../messages.js";

/** @typedef {import("./api.js").Placed} Placed */
/** @typedef {{ placed: Placed[], request: string, fresh: Set<string>, revision: number, failed: string }} Shown */

/** The last slate of every shelf, so that a page that is opened again shows it at once and then changes it in place. */
/** @type {Map<string, Shown>} */
const memory = new Map();
visitor.subscribe(() => memory.clear());

/**
 * The slate for a query, asked for again after every action and when the moment changes.
 * @param {string} name
 * @param {{ placement: string, n?: number, items?: string[], filter?: object, exclude?: string[], personalization?: boolean }} query
 * @param {{ measured?: boolean }} [how] measured: this shelf stops the clock that a click started
 * @returns {Shown | null} null until the first answer
 */
export function useSlate(name, query, { measured = false } = {}) {
  const wish = JSON.stringify({ ...query, anon_id: visitor.value, moment: moment.value });
  const place = `${name} ${query.items?.join() ?? ""} ${query.filter ? JSON.stringify(query.filter) : ""}`;
  const number = revision.value;
  const [shown, setShown] = useState(/** @type {(Shown & { place: string }) | null} */ (null));

  useEffect(() => {
    let stale = false;
    const ask = async () => {
      const at_least = await settled();
      const slate = await recommend({ ...query, anon_id: visitor.value, context: context(), at_least });
      if (stale) return;
      if (measured) noteAnswered(number);
      await ensure([...slate.items, ...slate.items.flatMap((placed) => placed.reasons)].flatMap(({ item_id }) => item_id ?? []));
      if (stale) return;
      const before = memory.get(place)?.placed.map((placed) => placed.item_id);
      const placed = slate.items.filter(({ item_id }) => items.has(item_id));
      const fresh = new Set(before ? placed.map(({ item_id }) => item_id).filter((id) => !before.includes(id)) : []);
      const now = { placed, request: slate.request_id, fresh, revision: number, failed: "" };
      memory.set(place, now);
      setShown({ ...now, place });
    };
    ask().catch((problem) => {
      if (!stale) setShown({ placed: [], request: "", fresh: new Set(), revision: number, failed: String(problem.message), place });
    });
    return () => { stale = true; };
  }, [wish, number]);

  const ready = shown?.place === place ? shown : null;
  useLayoutEffect(() => {
    if (measured && ready) requestAnimationFrame(() => noteDrawn(ready.revision, ready.fresh.size, ready.placed.length));
  }, [ready?.revision]);
  return ready ?? memory.get(place) ?? null;
}

/** Open a product: the address changes at once, the event is on its way. */
export function open(/** @type {string} */ id, /** @type {MouseEvent} */ event, origin = {}) {
  if (!followed(event)) return;
  act([{ type: "view", item_id: id }], { origin, started: event.timeStamp });
  go(toItem(id));
}

/** Why an item is here, in words; the item that caused it is a link. */
export function Why({ placed, page = "" }) {
  const reason = placed.reasons?.[0];
  if (!reason) return null;
  const { code, item_id: cause, value = "" } = reason;
  const title = cause && items.get(cause)?.title;
  if (title && cause !== page && has(`why.${code}`)) {
    const parts = around(`why.${code}`, { value });
    if (parts) {
      return html`<p class="why" data-code=${code} data-cause=${cause}>${parts.before}<a href=${toItem(cause)}
        onClick=${(/** @type {MouseEvent} */ event) => open(cause, event)}>${title}</a>${parts.after}</p>`;
    }
  }
  return html`<p class="why" data-code=${code} data-cause=${cause ?? ""}>${plainReason(code, value, Boolean(page && cause === page))}</p>`;
}

function plainReason(/** @type {string} */ code, /** @type {string} */ value, /** @type {boolean} */ here) {
  const named = value.split(/\x1f| > /).at(-1) ?? "";
  if (here && has(`why.here.${code}`)) return t(`why.here.${code}`);
  if (named && has(`why.${code}.value`)) return t(`why.${code}.value`, { value: named });
  if (has(`why.bare.${code}`) && !(named && around(`why.${code}`) === null)) return t(`why.bare.${code}`);
  return has(`why.${code}`) ? t(`why.${code}`, { value: named }) : t("why.other");
}

export function Card({ placed, origin, fresh = false, page = "", level = 3 }) {
  const item = items.get(placed.item_id);
  if (!item) return null;
  return html`<li class=${fresh ? "card is-fresh" : "card"} data-item=${item.item_id}>
    <a class="card-link" href=${toItem(item.item_id)} onClick=${(/** @type {MouseEvent} */ event) => open(item.item_id, event, origin)}>
      <${Picture} item=${item} />
      ${fresh && html`<span class="badge">${t("new.badge")}</span>`}
      ${level === 2 ? html`<h2 class="card-title">${item.title}</h2>` : html`<h3 class="card-title">${item.title}</h3>`}
      <p class="price">${money(item.price ?? 0, item.currency)}</p>
    </a>
    <${Why} placed=${placed} page=${page} />
  </li>`;
}

const Skeleton = () => html`<li class="card is-empty" aria-hidden="true"><span class="picture"></span><span class="line"></span><span class="line short"></span></li>`;

/**
 * @param {{ name: string, title: string, note?: string, query: Parameters<typeof useSlate>[1], measured?: boolean,
 *   row?: boolean, page?: string, hideEmpty?: boolean }} props row: one line that scrolls sideways; page: the product page's own item
 */
export function Shelf({ name, title, note = "", query, measured = false, row = false, page = "", hideEmpty = false }) {
  const shown = useSlate(name, query, { measured });
  const track = useRef(/** @type {HTMLElement | null} */ (null));
  useEffect(() => {
    if (!shown?.fresh.size || !measured) return;
    announcement.value = t("shelf.updated", { shelf: title, n: shown.fresh.size, all: shown.placed.length });
    if (row) track.current?.scrollTo({ left: 0 });
  }, [shown?.revision]);
  if (hideEmpty && shown && !shown.placed.length) return null;
  const scroll = (/** @type {number} */ way) => track.current?.scrollBy({ left: way * track.current.clientWidth * 0.8, behavior: "smooth" });
  const origin = (/** @type {number} */ position) => ({ placement: query.placement, position, request_id: shown?.request });
  return html`<section class=${row ? "shelf is-row" : "shelf"} aria-labelledby=${`shelf-${name}`} data-shelf=${name} data-revision=${shown?.revision ?? -1} aria-busy=${!shown}>
    <header class="shelf-head">
      <h2 id=${`shelf-${name}`}>${title}</h2>
      ${note && html`<p class="shelf-note">${note}</p>`}
      ${row && html`<div class="shelf-turn">
        <button type="button" class="round" aria-label=${t("shelf.back", { shelf: title })} onClick=${() => scroll(-1)}><${BackGlyph} /></button>
        <button type="button" class="round" aria-label=${t("shelf.on", { shelf: title })} onClick=${() => scroll(1)}><${OnGlyph} /></button>
      </div>`}
    </header>
    ${shown?.failed && html`<p class="quiet">${t("shelf.failed", { message: shown.failed })}</p>`}
    ${shown && !shown.failed && !shown.placed.length && html`<p class="quiet">${t("shelf.empty")}</p>`}
    <ul class="cards" ref=${track}>
      ${shown
        ? shown.placed.map((placed, at) => html`<${Card} key=${placed.item_id} placed=${placed} origin=${origin(at)} fresh=${shown.fresh.has(placed.item_id)} page=${page} />`)
        : Array.from({ length: query.n ?? 6 }, (_, at) => html`<${Skeleton} key=${at} />`)}
    </ul>
  </section>`;
}
