// @ts-check
/** Live: what arrives now, how fast it is answered, what was refused, and what would come of an event. */
import { html, useEffect, useRef, useState } from "../shop/html.js";
import { follow, get, send } from "./api.js";
import { Chart } from "./chart.js";
import { t } from "./messages.js";
import { Card, clock, Figures, Json, moment, number, Problem, Table, Title, useLoaded } from "./parts.js";

const SHOWN = 100; // events kept on the page
const PULSES = 300; // seconds of the chart

const EXAMPLE = `{
  "type": "view",
  "anon_id": "visitor-1",
  "item_id": "tea"
}`;


/** The words of an event beyond who and when. */
function what(event) {
  if (event.kind === "impression") return `${event.placement ?? "home"}: ${(event.items ?? []).join(", ")}`;
  if (event.kind === "item") return [event.item_id, event.item?.title ?? (event.item ? "" : t("live.deleted"))].filter(Boolean).join(" · ");
  if (event.kind !== "interaction") return event.user_hash ?? event.name ?? "";
  const agent = event.props?.user_agent;
  return [event.item_id, event.query, event.placement, event.context?.device, agent].filter(Boolean).join(" · ");
}

export function Live() {
  const [events, setEvents] = useState(/** @type {any[]} */ ([]));
  const [pulses, setPulses] = useState(/** @type {any[]} */ ([]));
  const [problem, setProblem] = useState(/** @type {unknown} */ (null));
  const [paused, setPaused] = useState(false);
  const held = useRef(false);
  held.current = paused;
  useEffect(() => follow("/v1/tail", (name, data) => {
    setProblem(null);
    if (name === "pulse") setPulses((old) => [...old, data].slice(-PULSES));
    else if (!held.current) setEvents((old) => [data, ...old].slice(0, SHOWN));
  }, setProblem), []);
  const now = pulses.at(-1) ?? {};
  const times = pulses.map((pulse) => pulse.ts / 1000);
  return html`<${Title}>${t("page.live")}</${Title}>
    <${Problem} of=${problem} />
    <${Figures} of=${[
      [t("live.events"), number(now.events_per_s, 1)],
      [t("live.slates"), number(now.slates_per_s, 1)],
      [t("live.p50"), number(now.recommend_p50_ms)],
      [t("live.p99"), number(now.recommend_p99_ms)],
      [t("live.ack99"), number(now.ingest_p99_ms)],
      [t("live.offset"), number(now.offset, 0)],
    ]} />
    <${Card} title=${t("live.rates")} name="rates"><${Chart} label=${t("live.rates")} times=${times} lines=${[
      { name: t("live.events"), color: "--accent", values: pulses.map((pulse) => pulse.events_per_s) },
      { name: t("live.slates"), color: "--focus", values: pulses.map((pulse) => pulse.slates_per_s) },
      { name: t("live.p99"), color: "--warn", values: pulses.map((pulse) => pulse.recommend_p99_ms) },
    ]} /></${Card}>
    <${Card} title=${t("live.tail")} name="tail" tools=${html`<button type="button" aria-pressed=${paused} onClick=${() => setPaused(!paused)}>${t("live.pause")}</button>`}>
      ${now.left_out > 0 && html`<p class="soft">${t("live.left_out", { n: number(now.left_out, 0) })}</p>`}
      <${Table} label=${t("live.tail")} rows=${events} id=${(/** @type {any} */ row) => row.offset} columns=${[
        [t("live.offset"), (/** @type {any} */ row) => row.offset, "n"],
        [t("time"), (/** @type {any} */ row) => clock(row.event.ts), "t"],
        [t("live.kind"), (/** @type {any} */ row) => row.event.type ?? row.event.kind, "t"],
        [t("live.who"), (/** @type {any} */ row) => row.event.user_id ?? row.event.anon_id ?? "–"],
        [t("live.what"), (/** @type {any} */ row) => what(row.event)],
      ]} />
    </${Card}>
    <div class="grid"><${Debugger} /><${Quarantine} /></div>`;
}

function Debugger() {
  const [found, setFound] = useState(/** @type {any} */ (null));
  const [problem, setProblem] = useState(/** @type {unknown} */ (null));
  const onSubmit = async (/** @type {any} */ event) => {
    event.preventDefault();
    const { text, browser } = event.target.elements;
    try {
      setFound(await send("POST", `/v1/events/check?browser=${browser.checked ? 1 : 0}`, text.value));
      setProblem(null);
    } catch (wrong) {
      setFound(null);
      setProblem(wrong);
    }
  };
  return html`<${Card} title=${t("debug.title")} name="debugger"><p class="soft">${t("debug.hint")}</p>
    <form onSubmit=${onSubmit} class="card-head">
      <textarea name="text" rows="8" spellcheck="false" aria-label=${t("debug.event")} defaultValue=${EXAMPLE}></textarea>
      <label class="tick"><input type="checkbox" name="browser" /> ${t("debug.browser")}</label>
      <button class="main">${t("debug.check")}</button>
    </form>
    <${Problem} of=${problem} />
    <div role="status">${found && html`<${Verdict} of=${found} />`}</div></${Card}>`;
}

const Verdict = ({ of: found }) => html`
  <p class=${`notice ${found.rejected.length ? "bad" : "good"}`} data-verdict>${t("debug.verdict", { taken: found.taken.length, refused: found.rejected.length })}</p>
  ${found.rejected.map((/** @type {any} */ refusal) => html`<p class="notice bad" key=${refusal.index}><code>${refusal.code}</code> ${refusal.field && html`<code>${refusal.field}</code>`} ${refusal.message}</p>`)}
  ${found.duplicates.length > 0 && html`<p class="notice warn">${t("debug.duplicates", { ids: found.duplicates.join(", ") })}</p>`}
  ${found.new_items.length > 0 && html`<p class="notice warn">${t("debug.new_items", { ids: found.new_items.join(", ") })}</p>`}
  ${found.taken.length > 0 && html`<h3>${t("debug.stored")}</h3><${Json} of=${found.taken} label=${t("debug.stored")} />`}`;

function Quarantine() {
  const { value, problem, again } = useLoaded(() => get("/v1/quarantine", { n: 100 }), []);
  return html`<${Card} title=${t("quarantine.title")} name="quarantine" tools=${html`<button type="button" onClick=${again}>${t("again")}</button>`}>
    <p class="soft">${t("quarantine.hint")}</p><${Problem} of=${problem} />
    ${value && html`<${Table} label=${t("quarantine.title")} rows=${value.records} id=${(/** @type {any} */ row) => row.id} columns=${[
      [t("time"), (/** @type {any} */ row) => moment(row.received_at), "t"],
      [t("quarantine.code"), (/** @type {any} */ row) => html`<code>${row.code}</code>`, "t"],
      [t("quarantine.why"), (/** @type {any} */ row) => html`${row.message}<details><summary>${t("quarantine.raw")}</summary><code>${row.raw}</code></details>`],
    ]} />`}</${Card}>`;
}
