// @ts-check
/** Experiments: what runs, what each variant brought, how sure that is and since when, and how to stop it. */
import { html, useState } from "../shop/html.js";
import { at, get, send } from "./api.js";
import { Chart } from "./chart.js";
import { t } from "./messages.js";
import { Card, Facts, moment, number, Problem, Sure, Table, Title, useLoaded } from "./parts.js";
import { go, Link, route, to } from "./router.js";

const percent = (/** @type {number | null} */ share, digits = 1) => (share === null ? "–" : `${number(share * 100, digits)} %`);
const signed = (/** @type {number | null} */ value) => (value === null ? "–" : `${value > 0 ? "+" : ""}${number(value, 4)}`);

/** In which of four words a range is told, and in which colour. */
function verdict(/** @type {any} */ range) {
  if (!range || range.low === null || range.high === null) return ["exp.little", "soft"];
  if (range.low > 0) return ["exp.better", "good"];
  return range.high < 0 ? ["exp.worse", "bad"] : ["exp.open", "soft"];
}

async function load() {
  const [{ experiments }, { placements }] = await Promise.all([get("/v1/experiments"), get("/v1/placements")]);
  return { experiments: experiments.reverse(), placements: Object.keys(placements) };
}

export function Experiments() {
  const { value, problem, again } = useLoaded(load, []);
  const all = value?.experiments ?? [];
  const name = all.some((/** @type {any} */ one) => one.name === route.value.id) ? route.value.id : all[0]?.name;
  return html`<${Title}>${t("page.experiments")}</${Title}><${Problem} of=${problem} />
    ${value && html`<${Card} title=${t("page.experiments")} name="experiments" tools=${html`<button type="button" onClick=${again}>${t("again")}</button>`}>
      ${all.length === 0 ? html`<p class="soft">${t("exp.none")}</p>` : html`<${Table} label=${t("page.experiments")} rows=${all} id=${(/** @type {any} */ row) => row.name} columns=${[
        [t("exp.name"), (/** @type {any} */ row) => html`<${Link} to=${to("experiments", row.name)} aria-current=${row.name === name ? "true" : null}>${row.name}</${Link}>`, "h"],
        [t("exp.kind"), (/** @type {any} */ row) => t(`exp.kind.${row.kind}`)],
        [t("placements.choose"), (/** @type {any} */ row) => row.placement],
        [t("exp.share"), (/** @type {any} */ row) => percent(row.share), "n"],
        [t("exp.since"), (/** @type {any} */ row) => moment(row.started_at), "t"],
        [t("exp.state"), (/** @type {any} */ row) => html`<span class=${row.ended_at ? "soft" : "good"}>${t(row.ended_at ? "exp.ended" : "exp.runs")}</span>`],
      ]} />`}</${Card}>
    ${name && html`<${One} name=${name} key=${name} changed=${again} />`}
    <${Start} placements=${value.placements} begun=${again} />`}`;
}

async function loadOne(/** @type {string} */ name) {
  const [view, { points }] = await Promise.all([get(`/v1/experiments/${at(name)}`), get(`/v1/experiments/${at(name)}/history`)]);
  return { ...view, points };
}

function One({ name, changed }) {
  const { value, problem, again } = useLoaded(() => loadOne(name), [name]);
  if (!value) return html`<${Problem} of=${problem} />`;
  const { experiment, results, preference, measured, points } = value;
  const stop = async (/** @type {string} */ reason) => {
    await send("POST", `/v1/experiments/${at(name)}/stop`, reason ? { reason } : {});
    again();
    changed();
  };
  return html`<${Problem} of=${problem} />
    <${Card} title=${`${t("exp.results")}: ${name}`} name="results" tools=${html`<button type="button" onClick=${again}>${t("again")}</button>`}>
      <p class="soft">${t("exp.results.hint")}</p>
      ${results && html`<${Sample} of=${results} /><${Winner} of=${results} /><${Variants} experiment=${experiment} results=${results} />`}
      ${preference && html`<${Won} experiment=${experiment} of=${preference} />`}
    </${Card}>
    <${History} experiment=${experiment} results=${results} preference=${preference} points=${points} />
    <div class="grid"><${Rails} experiment=${experiment} measured=${measured} /><${About} of=${experiment} stop=${stop} /></div>`;
}

const Sample = ({ of: results }) => html`
  <p class=${`notice ${results.sample_ratio_alarm ? "bad" : "good"}`} data-sample=${results.sample_ratio_alarm ? "alarm" : "fine"}>
    ${t(results.sample_ratio_alarm ? "exp.srm.bad" : "exp.srm.good", { p: number(results.sample_ratio_p, 4) })}</p>
  ${results.crossovers > 0 && html`<p class="soft">${t("exp.crossovers", { n: number(results.crossovers, 0) })}</p>`}`;

/** Who won, by the reward. */
function Winner({ of: results }) {
  const [[first], ...others] = /** @type {[string, any][]} */ (Object.entries(results.variants));
  const ahead = others.filter(([, one]) => verdict(one.reward_difference)[0] === "exp.better").sort((a, b) => b[1].reward_difference.value - a[1].reward_difference.value);
  const behind = others.every(([, one]) => verdict(one.reward_difference)[0] === "exp.worse");
  const said = ahead.length ? t("exp.winner", { name: ahead[0][0], first }) : t(behind ? "exp.keep" : "exp.undecided", { first });
  return html`<p class=${`notice ${ahead.length || behind ? "good" : ""}`} role="status" data-winner>${said}</p>`;
}

function Variants({ experiment, results }) {
  const [[first, base], ...rest] = /** @type {[string, any][]} */ (Object.entries(results.variants));
  const rows = [[first, base], ...rest].map(([name, one]) => ({ name, ...one }));
  const brought = (/** @type {number} */ rate, /** @type {any} */ found, /** @type {number} */ per) => html`${number(rate, 4)}${found && html`<br />
    ${signed(found.value)} ${per > 0 && found.low !== null && `(${percent(found.value / per)})`} <span class="soft">${found.low === null ? "" : `${signed(found.low)} … ${signed(found.high)}`}</span>
    <span class=${`word ${verdict(found)[1]}`}> ${t(verdict(found)[0])}</span>`}`;
  return html`<${Table} label=${t("exp.results")} rows=${rows} id=${(/** @type {any} */ row) => row.name} columns=${[
    [t("exp.variant"), (/** @type {any} */ row) => row.name, "h"],
    [t("exp.weight"), (/** @type {any} */ row) => percent(experiment.variants[row.name].weight), "n"],
    [t("exp.units"), (/** @type {any} */ row) => number(row.units, 0), "n"],
    [t("exp.slates"), (/** @type {any} */ row) => number(row.slates, 0), "n"],
    [`${t("exp.reward")}, ${t("exp.lift", { name: first })}`, (/** @type {any} */ row) => brought(row.reward_per_slate, row.reward_difference, base.reward_per_slate)],
    [`${t("exp.clicks")}, ${t("exp.lift", { name: first })}`, (/** @type {any} */ row) => brought(row.clicks_per_slate, row.clicks_difference, base.clicks_per_slate)],
    [t("exp.changes"), (/** @type {any} */ row) => html`<code>${changes(experiment.variants[row.name])}</code>`],
  ]} />`;
}

const changes = (/** @type {any} */ variant) => [
  ...Object.entries(variant.settings).map(([name, value]) => `${name} = ${JSON.stringify(value)}`), ...(variant.ranker ? [`ranker = ${variant.ranker}`] : []),
].join(", ") || "–";

const Won = ({ experiment, of }) => html`<p class="notice" role="status" data-winner>${t("exp.won", {
  n: number(of.wins + of.losses, 0), first: Object.keys(experiment.variants)[0], share: percent(of.share), low: percent(of.low), high: percent(of.high), ties: number(of.ties, 0),
})} ${t(of.low > 0.5 ? "exp.better" : of.high < 0.5 ? "exp.worse" : "exp.open")}</p>`;

/** The difference of each variant with its range, over time; the last point is now. */
function History({ experiment, results, preference, points }) {
  const [metric, setMetric] = useState("reward");
  const [first, ...others] = Object.keys(experiment.variants);
  const half = preference ? 0.5 : 0;
  const now = preference
    ? { interleaved: { value: preference.share ?? 0.5, low: preference.low, high: preference.high } }
    : Object.fromEntries(others.map((name) => [name, results.variants[name][`${metric}_difference`]]));
  const shown = [...points.map((/** @type {any} */ one) => ({ ts: one.ts, of: one[preference ? "reward" : metric] })), { ts: experiment.ended_at || Date.now(), of: now }];
  const times = shown.map((one) => one.ts / 1000);
  const of = (/** @type {string} */ name, /** @type {string} */ end) => shown.map((one) => {
    const value = one.of[name]?.[end] ?? null;
    return value === null ? null : value - half;
  });
  return html`<${Card} title=${t("exp.time")} name="history" tools=${!preference && html`<label class="field"><span>${t("exp.metric")}</span>
      <select value=${metric} onChange=${(/** @type {any} */ event) => setMetric(event.target.value)}>
        ${["reward", "clicks"].map((name) => html`<option value=${name} key=${name}>${t(`exp.${name}`)}</option>`)}</select></label>`}>
    ${points.length === 0 ? html`<p class="soft">${t("exp.time.none")}</p>` : (preference ? ["interleaved"] : others).map((name) => html`<div key=${name + metric + points.length}>
      <h3>${preference ? t("exp.won.time", { first }) : `${name}: ${t("exp.lift", { name: first })}`}</h3>
      <${Chart} signed label=${`${name}: ${t("exp.time")}`} times=${times} lines=${[
        { name: t("exp.difference"), color: "--accent", values: of(name, "value") },
        { name: t("exp.low"), color: "--focus", values: of(name, "low"), thin: true },
        { name: t("exp.high"), color: "--focus", values: of(name, "high"), thin: true },
      ]} /></div>`)}</${Card}>`;
}

const Rails = ({ experiment, measured }) => html`<${Card} title=${t("exp.rails")} name="rails"><p class="soft">${t("exp.rails.hint")}</p>
  <${Table} label=${t("exp.rails")} rows=${Object.entries(measured).map(([name, of]) => ({ name, .../** @type {any} */ (of) }))} columns=${[
    [t("exp.variant"), (/** @type {any} */ row) => row.name, "h"],
    [t("exp.slates"), (/** @type {any} */ row) => number(row.slates, 0), "n"],
    [t("exp.slow", { ms: number(experiment.guardrails.max_p99_ms, 0) }), (/** @type {any} */ row) => number(row.slow, 0), "n"],
    [t("exp.failed", { share: percent(experiment.guardrails.max_error_share) }), (/** @type {any} */ row) => number(row.failed, 0), "n"],
    [t("exp.empty", { share: percent(experiment.guardrails.max_empty_share) }), (/** @type {any} */ row) => number(row.empty, 0), "n"],
  ]} /></${Card}>`;

function About({ of: one, stop }) {
  const [reason, setReason] = useState("");
  const [problem, setProblem] = useState(/** @type {unknown} */ (null));
  return html`<${Card} title=${one.name} name="about"><${Facts} of=${[
      [t("exp.kind"), t(`exp.kind.${one.kind}`)],
      [t("placements.choose"), one.placement],
      [t("exp.share"), `${percent(one.share)} (${number(one.first, 3)} … ${number(one.first + one.share, 3)})`],
      [t("exp.planned"), number(one.planned, 0)],
      [t("exp.since"), moment(one.started_at)],
      [t("exp.ended_at"), one.ended_at ? moment(one.ended_at) : ""],
      [t("exp.why"), one.stopped],
    ]} />
    <${Problem} of=${problem} />
    ${!one.ended_at && html`<label class="field"><span>${t("exp.stop.why")}</span><input value=${reason} maxlength="500" onInput=${(/** @type {any} */ event) => setReason(event.target.value)} /></label>
      <div><${Sure} label=${t("exp.stop")} question=${t("exp.stop.sure")} act=${() => stop(reason.trim()).catch(setProblem)} /></div>`}</${Card}>`;
}

function Start({ placements, begun }) {
  const [problem, setProblem] = useState(/** @type {unknown} */ (null));
  const onSubmit = async (/** @type {any} */ event) => {
    event.preventDefault();
    const { name, kind, placement, share, planned, settings, ranker } = event.target.elements;
    const alike = kind.value === "aa";
    try {
      const other = alike ? {} : { settings: JSON.parse(settings.value || "{}"), ranker: Number(ranker.value) };
      const made = await send("POST", "/v1/experiments", {
        name: name.value.trim(), kind: kind.value, placement: placement.value, share: Number(share.value) / 100, planned: Number(planned.value),
        variants: { now: { weight: 0.5 }, new: { weight: 0.5, ...other } },
      });
      setProblem(null);
      begun();
      go(to("experiments", made.name));
    } catch (wrong) {
      setProblem(wrong);
    }
  };
  return html`<${Card} title=${t("exp.start")} name="start"><p class="soft">${t("exp.start.hint")}</p>
    <form onSubmit=${onSubmit} class="stack"><div class="row">
      <label class="field"><span>${t("exp.name")}</span><input name="name" required maxlength="64" /></label>
      <label class="field"><span>${t("exp.kind")}</span><select name="kind">${["ab", "interleave", "aa"].map((kind) => html`<option value=${kind} key=${kind}>${t(`exp.kind.${kind}`)}</option>`)}</select></label>
      <label class="field"><span>${t("placements.choose")}</span><select name="placement">${placements.map((/** @type {string} */ one) => html`<option value=${one} key=${one}>${one}</option>`)}</select></label>
      <label class="field"><span>${t("exp.share")}, %</span><input name="share" type="number" min="0.1" max="100" step="0.1" defaultValue="100" required /></label>
      <label class="field"><span>${t("exp.planned")}</span><input name="planned" type="number" min="1" defaultValue="100000" required /></label>
      <label class="field"><span>${t("exp.start.ranker")}</span><input name="ranker" type="number" min="0" defaultValue="0" required /></label></div>
      <label class="field"><span>${t("exp.start.settings")}</span><textarea name="settings" rows="3" spellcheck="false" defaultValue=${'{ "diversity": 0.5 }'}></textarea></label>
      <${Problem} of=${problem} />
      <div><button class="main">${t("exp.start.go")}</button></div>
    </form></${Card}>`;
}
