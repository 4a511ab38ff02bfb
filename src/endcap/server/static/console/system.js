// @ts-check
/** System: the process, its log, snapshots, memory, settings with their sources, and the doctor. */
import { html, useState } from "../shop/html.js";
import { get, send } from "./api.js";
import { t } from "./messages.js";
import { Bar, bytes, Card, Facts, Figures, moment, number, Problem, Table, Title, useLoaded } from "./parts.js";

const LEVELS = { ok: "good", note: "soft", warning: "warn", error: "bad" };

const span = (/** @type {number} */ ms) => t("sys.hours", { h: number(Math.floor(ms / 3_600_000), 0), m: Math.floor(ms / 60_000) % 60 });

export function System() {
  const { value, problem, again } = useLoaded(() => get("/v1/system"), []);
  return html`<div class="card-head"><${Title}>${t("page.system")}</${Title}><button type="button" onClick=${again}>${t("again")}</button></div><${Problem} of=${problem} />
    ${value && html`<${Figures} of=${[
        [t("sys.version"), value.version],
        [t("sys.up"), span(value.now - value.started_at)],
        [t("sys.events"), number(value.log.events, 0)],
        [t("sys.users"), number(value.users, 0)],
        [t("sys.items"), number(value.items, 0)],
        [t("sys.memory"), value.memory.process === null ? null : bytes(value.memory.process)],
      ]} />
      <div class="grid"><${Log} of=${value} /><${Snapshots} of=${value.snapshots} done=${again} /><${Process} of=${value} /><${Jobs} of=${value.jobs} /><${Memory} of=${value.memory} /><${Encoders} of=${value.encoders} /></div>`}
    <${Doctor} /><${Settings} />`;
}

const Log = ({ of: { log, jobs } }) => html`<${Card} title=${t("sys.log")} name="log"><${Facts} of=${[
  [t("live.offset"), number(log.offset, 0)],
  [t("sys.size"), log.bytes === null ? "" : bytes(log.bytes)],
  [t("sys.newest"), moment(log.newest_at)],
  [t("sys.durability"), log.durability],
  [t("sys.pending"), number(jobs.pending_events, 0)],
]} /></${Card}>`;

function Snapshots({ of: snapshots, done }) {
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState(/** @type {unknown} */ (null));
  const make = () => {
    setBusy(true);
    send("POST", "/v1/system/snapshot", {}).then(() => setProblem(null), setProblem).finally(() => {
      setBusy(false);
      done();
    });
  };
  return html`<${Card} title=${t("sys.snapshots")} name="snapshots" tools=${html`<button type="button" disabled=${busy} onClick=${make}>${t("sys.snapshot.make")}</button>`}>
    <p class="soft">${t("sys.snapshots.hint")}</p><${Problem} of=${problem} />
    <${Table} label=${t("sys.snapshots")} rows=${snapshots} id=${(/** @type {any} */ row) => row.offset} columns=${[
      [t("live.offset"), (/** @type {any} */ row) => number(row.offset, 0), "n"],
      [t("sys.saved"), (/** @type {any} */ row) => moment(row.saved_at), "t"],
      [t("sys.size"), (/** @type {any} */ row) => bytes(row.bytes), "n"],
    ]} /></${Card}>`;
}

const Process = ({ of: value }) => html`<${Card} title=${t("sys.process")} name="process"><${Facts} of=${[
  [t("sys.process"), value.pid],
  [t("sys.python"), value.python],
  [t("sys.machine"), value.platform],
  [t("sys.directory"), value.directory],
  [t("sys.keys"), t(value.keys ? "sys.keys.on" : "sys.keys.off")],
  [t("sys.start"), t("sys.start.how", { n: number(value.start.replayed, 0), s: number(value.start.seconds, 1), offset: number(value.start.snapshot_offset, 0) })],
]} /></${Card}>`;

const Jobs = ({ of: jobs }) => html`<${Card} title=${t("sys.jobs")} name="jobs"><${Facts} of=${[
  [t("sys.jobs.training"), jobs.training && t(jobs.training.running ? "sys.jobs.training.on" : "sys.jobs.training.off")],
  [t("sys.jobs.experiments"), number(jobs.experiments, 0)],
  [t("sys.jobs.feeds"), number(jobs.feeds, 0)],
  [t("sys.jobs.views"), number(jobs.live_views, 0)],
]} /></${Card}>`;

function Memory({ of: memory }) {
  const parts = /** @type {[string, number][]} */ (Object.entries(memory.parts));
  const most = Math.max(1, ...parts.map(([, size]) => size));
  return html`<${Card} title=${t("sys.parts")} name="memory"><${Facts} of=${[[t("sys.peak"), bytes(memory.peak)]]} />
    <${Table} label=${t("sys.parts")} rows=${parts} id=${(/** @type {any} */ row) => row[0]} columns=${[
      [t("sys.part"), (/** @type {any} */ row) => row[0], "h"],
      [t("sys.size"), (/** @type {any} */ row) => html`${bytes(row[1])}<${Bar} share=${row[1] / most} />`, "n"],
    ]} /></${Card}>`;
}

function standing(/** @type {any} */ one) {
  const missing = one.missing.join(", ");
  if (!one.usable) return html`<span class="warn">${t("sys.encoder.none", { missing })}</span>`;
  return one.fallback ? html`<span class="soft">${t("sys.encoder.fallback", { missing })}</span>` : html`<span class="good">${t("sys.encoder.best")}</span>`;
}

const Encoders = ({ of: encoders }) => html`<${Card} title=${t("sys.encoders")} name="encoders"><${Table} label=${t("sys.encoders")} rows=${encoders} columns=${[
  [t("sys.encoder.for"), (/** @type {any} */ row) => html`<span class="word">${row.modality}</span>`, "h"],
  [t("sys.encoder"), (/** @type {any} */ row) => `${row.id} ${row.version}`],
  [t("sys.encoder.dim"), (/** @type {any} */ row) => row.dim, "n"],
  [t("sys.encoder.state"), standing],
]} /></${Card}>`;

function Doctor() {
  const { value, problem, again } = useLoaded(() => get("/v1/system/checks"), []);
  return html`<${Card} title=${t("sys.checks")} name="doctor" tools=${html`<button type="button" onClick=${again}>${t("sys.checks.run")}</button>`}>
    <p class="soft">${t("sys.checks.hint")}</p><${Problem} of=${problem} />
    ${value && html`<${Table} label=${t("sys.checks")} rows=${value.checks} id=${(/** @type {any} */ row) => row.name} columns=${[
      [t("sys.check"), (/** @type {any} */ row) => row.name, "h"],
      [t("models.state"), (/** @type {any} */ row) => html`<span class=${LEVELS[/** @type {"ok"} */ (row.level)]} data-level=${row.level}>${t(`sys.level.${row.level}`)}</span>`],
      [t("sys.found"), (/** @type {any} */ row) => html`${row.message}${row.remedy && html`<br /><span class="soft">${row.remedy}</span>`}`],
    ]} />`}</${Card}>`;
}

function Settings() {
  const { value, problem } = useLoaded(() => get("/v1/system/settings"), []);
  const [wanted, setWanted] = useState("");
  const [changed, setChanged] = useState(false);
  const rows = (value?.settings ?? []).filter((/** @type {any} */ one) => one.name.includes(wanted.trim().toLowerCase()) && (!changed || one.source !== "default"));
  return html`<${Card} title=${t("sys.settings")} name="settings"><p class="soft">${t("sys.settings.hint")}</p><${Problem} of=${problem} />
    <div class="row"><label class="field"><span>${t("sys.settings.find")}</span><input type="search" value=${wanted} onInput=${(/** @type {any} */ event) => setWanted(event.target.value)} /></label>
      <label class="tick"><input type="checkbox" checked=${changed} onChange=${(/** @type {any} */ event) => setChanged(event.target.checked)} /> ${t("sys.settings.changed")}</label></div>
    ${value && html`<${Table} label=${t("sys.settings")} rows=${rows} id=${(/** @type {any} */ row) => row.name} columns=${[
      [t("sys.setting"), (/** @type {any} */ row) => html`<code>${row.name}</code>`, "h"],
      [t("sys.value"), (/** @type {any} */ row) => html`<code>${typeof row.value === "string" && row.value ? row.value : JSON.stringify(row.value)}</code>`],
      [t("sys.source"), (/** @type {any} */ row) => html`<span class=${row.source === "default" ? "soft" : ""}>${row.source}</span>`, "t"],
    ]} />`}</${Card}>`;
}
