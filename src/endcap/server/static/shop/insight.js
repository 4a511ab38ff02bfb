// @ts-check
/** Behind the counter: what the engine believes about this visitor, and how fast it came to believe it. */
import { CloseGlyph } from "./glyphs.js";
import { html } from "./html.js";
import { open } from "./shelf.js";
import { toItem } from "./router.js";
import { catalogueSize, forgetMe, hourNow, items, moment, notice, steps, timings, view } from "./store.js";
import { t } from "../messages.js";

const REGIONS = ["United Kingdom", "Germany", "France", "Ireland", "Spain", "Netherlands", "Australia"];
const DEVICES = ["desktop", "mobile", "tablet"];

const whole = (/** @type {number} */ ms) => Math.max(0, Math.round(ms));

export function Insight({ close }) {
  return html`<div class="insight">
    <header class="insight-head">
      <h2>${t("panel.title")}</h2>
      <button type="button" class="round panel-close" aria-label=${t("panel.close")} onClick=${close}><${CloseGlyph} /></button>
      <p>${t("panel.intro")}</p>
    </header>
    <${Speed} />
    <${Belief} />
    <${Moment} />
    <${Steps} />
    <div class="block">
      <button type="button" class="forget" onClick=${forgetMe}>${t("panel.forget")}</button>
      <p class="hint">${t("panel.forget.hint")}</p>
    </div>
  </div>`;
}

function Speed() {
  const [last, ...older] = timings.value;
  if (!last) return html`<section class="block speed"><h3>${t("panel.speed")}</h3><p class="hint">${t("panel.speed.none")}</p></section>`;
  const total = last.drawn - last.started;
  /** @type {[string, number][]} */
  const parts = [
    ["stored", last.stored - last.started],
    ["answered", last.answered - last.stored],
    ["drawn", last.drawn - last.answered],
  ];
  const all = timings.value.map((timing) => timing.drawn - timing.started);
  const median = [...all].sort((a, b) => a - b)[all.length >> 1];
  const tallest = Math.max(...all);
  return html`<section class="block speed" data-clicks=${timings.value.length}>
    <h3>${t("panel.speed")}</h3>
    <p class="figure"><strong>${whole(total)}</strong> ${t("panel.speed.unit")}</p>
    <div class="split" aria-hidden="true">${parts.map(([name, ms]) => html`<span key=${name} class=${`part is-${name}`} style=${{ "--share": Math.max(ms, 0.5) }}></span>`)}</div>
    <dl class="parts">${parts.map(([name, ms]) => html`<div key=${name} class=${`is-${name}`}><dt>${t(`panel.speed.${name}`)}</dt><dd>${whole(ms)} ${t("panel.speed.unit")}</dd></div>`)}</dl>
    <p class="hint">${t("panel.speed.changed", { n: last.changed, all: last.all })}${older.length > 0 && ` · ${t("panel.speed.median", { ms: whole(median), n: all.length })}`}</p>
    ${older.length > 0 && html`<div class="history" aria-hidden="true">${[...all].reverse().map((ms, at) => html`<span key=${at} style=${{ "--share": ms / tallest }}></span>`)}</div>`}
  </section>`;
}

function Belief() {
  const known = view.value;
  const warmth = known?.warmth ?? "cold";
  return html`<section class="block">
    <h3>${t("panel.warmth")}</h3>
    <p class="warmth" data-warmth=${warmth}><span class=${`dots is-${warmth}`} aria-hidden="true"><i></i><i></i><i></i></span><strong>${t(`panel.warmth.${warmth}`)}</strong></p>
    <p class="hint">${t("panel.events", { session: known?.session_events ?? 0, total: known?.total_events ?? 0 })}</p>
    <${Bars} title=${t("panel.categories")} rows=${leavesOf(known?.categories)} />
    <${Bars} title=${t("panel.ranges")} rows=${known?.brands} />
    <${Mind} rows=${known?.items} />
  </section>`;
}

/** Categories arrive as paths at every level; the panel shows leaves only. */
function leavesOf(/** @type {import("./api.js").Weighted[] | undefined} */ rows) {
  return rows?.map((row) => ({ ...row, name: row.name.split(/\x1f| > /).at(-1) ?? row.name }));
}

function Bars({ title, rows = [] }) {
  const top = rows.filter((row) => row.weight > 0).slice(0, 5);
  if (!top.length) return null;
  const most = Math.max(...top.map((row) => row.weight));
  return html`<h4>${title}</h4><ul class="bars">${top.map((row) => html`<li key=${row.name}>
    <span class="bar-name">${row.name}</span><span class="bar-value">${Math.round(row.weight * 100)} %</span>
    <span class="bar" aria-hidden="true" style=${{ "--share": row.weight / most }}></span></li>`)}</ul>`;
}

function Mind({ rows = [] }) {
  const top = catalogueSize.value ? rows.filter((row) => items.has(row.name)).slice(0, 4) : [];
  if (!top.length) return null;
  return html`<h4>${t("panel.items")}</h4><ul class="mind">${top.map((row) => html`<li key=${row.name}><${ItemLink} id=${row.name} /></li>`)}</ul>`;
}

const ItemLink = ({ id }) =>
  html`<a href=${toItem(id)} onClick=${(/** @type {MouseEvent} */ event) => open(id, event)}>${(catalogueSize.value && items.get(id)?.title) || id}</a>`;

function Moment() {
  const { region, device } = moment.value;
  const set = (/** @type {object} */ change) => { moment.value = { ...moment.value, ...change }; };
  const hour = String(hourNow.value).padStart(2, "0");
  const target = (/** @type {Event} */ event) => /** @type {HTMLInputElement} */ (event.target).value;
  return html`<section class="block">
    <h3>${t("panel.moment")}</h3>
    <p class="hint">${t("panel.moment.hint")}</p>
    <label class="field"><span>${t("panel.hour")}</span> <output>${hour}:00</output>
      <input type="range" min="0" max="23" step="1" value=${hourNow.value} aria-valuetext=${`${hour}:00`} onChange=${(/** @type {Event} */ event) => set({ hour: Number(target(event)) })} /></label>
    <label class="field"><span>${t("panel.region")}</span>
      <select value=${region} onChange=${(/** @type {Event} */ event) => set({ region: target(event) })}>${REGIONS.map((name) => html`<option key=${name} value=${name}>${name}</option>`)}</select></label>
    <label class="field"><span>${t("panel.device")}</span>
      <select value=${device} onChange=${(/** @type {Event} */ event) => set({ device: target(event) })}>${DEVICES.map((name) => html`<option key=${name} value=${name}>${t(`device.${name}`)}</option>`)}</select></label>
  </section>`;
}

function Steps() {
  if (!steps.value.length) return null;
  return html`<section class="block"><h3>${t("panel.recent")}</h3><ol class="steps">${steps.value.map((step, at) => html`<li key=${steps.value.length - at}>
    <span>${t(`step.${step.type}`)}</span> ${step.id ? html`<${ItemLink} id=${step.id} />` : html`<q>${step.text}</q>`}</li>`)}</ol></section>`;
}

/** One line at the foot of the page for what went wrong or was done. */
export function Notice() {
  return html`<div class="notice" role="status" aria-live="polite">${notice.value && html`<p>${notice.value}
    <button type="button" class="round" aria-label=${t("panel.close")} onClick=${() => { notice.value = ""; }}><${CloseGlyph} /></button></p>`}</div>`;
}
